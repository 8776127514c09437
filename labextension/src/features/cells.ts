import { LanguageSupport, StreamLanguage, type StringStream } from '@codemirror/language';
import type { Range } from '@codemirror/state';
import { Decoration, type DecorationSet, EditorView, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { type Cell, CodeCell } from '@jupyterlab/cells';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import { AI_MIME, type ISpan, isAiCell, nextSpan } from '../language';

const TOKENS: Readonly<Record<NonNullable<ISpan['kind']>, string>> = {
  meta: 'meta',
  variable: 'string.special',
  escape: 'atom',
  heading: 'heading'
};

interface ILine {
  isFirst: boolean;
}

function token(stream: StringStream, state: ILine): string | null {
  const span = nextSpan(stream.string, stream.pos, state.isFirst);
  stream.pos += span.length;
  state.isFirst = false;
  return span.kind && TOKENS[span.kind];
}

const VARIABLE = Decoration.mark({ class: 'aiplat-Variable' });

/** Marks on each reference to a variable in the lines in sight. */
function marks(view: EditorView): DecorationSet {
  const found: Range<Decoration>[] = [];
  for (const { from, to } of view.visibleRanges) {
    for (let at = from; at <= to; ) {
      const line = view.state.doc.lineAt(at);
      for (let begin = 0; begin < line.length && line.number > 1; ) {
        const span = nextSpan(line.text, begin, false);
        if (span.kind === 'variable') {
          found.push(VARIABLE.range(line.from + begin, line.from + begin + span.length));
        }
        begin += span.length;
      }
      at = line.to + 1;
    }
  }
  return Decoration.set(found);
}

class Variables {
  constructor(view: EditorView) {
    this.decorations = marks(view);
  }

  update(update: ViewUpdate): void {
    if (update.docChanged || update.viewportChanged) {
      this.decorations = marks(update.view);
    }
  }

  decorations: DecorationSet;
}

const variables = ViewPlugin.fromClass(Variables, { decorations: plugin => plugin.decorations });

/** Built when the first AI cell is shown; long lines wrap, since they are prose. */
async function support(): Promise<LanguageSupport> {
  const language = StreamLanguage.define<ILine>({
    name: 'aiplat-ai',
    startState: () => ({ isFirst: true }),
    blankLine: state => {
      state.isFirst = false;
    },
    copyState: state => ({ ...state }),
    token
  });
  return new LanguageSupport(language, [EditorView.lineWrapping, variables]);
}

/** Keeps the type of a notebook's code cells in step with their first line, for as long as the notebook is open. */
class CellTypes {
  constructor(private readonly panel: NotebookPanel) {
    void panel.context.ready.then(() => {
      if (!panel.isDisposed) {
        panel.content.model?.cells.changed.connect(this.watchAll, this);
        this.watchAll();
      }
    });
    panel.disposed.connect(() => Signal.clearData(this));
  }

  private watchAll(): void {
    for (const cell of this.panel.content.widgets) {
      if (cell instanceof CodeCell && !this.watched.has(cell)) {
        this.watched.add(cell);
        // The kernel's answer about its language sets the type of every cell, so both signals matter.
        const settle = () => this.settle(cell);
        cell.model.contentChanged.connect(settle, this);
        cell.model.mimeTypeChanged.connect(settle, this);
        settle();
      }
    }
  }

  private settle(cell: CodeCell): void {
    if (cell.isDisposed || cell.model.isDisposed) {
      return;
    }
    const model = cell.model;
    const isAi = isAiCell(model.sharedModel.getSource());
    if (isAi && model.mimeType !== AI_MIME) {
      model.mimeType = AI_MIME;
    } else if (!isAi && model.mimeType === AI_MIME) {
      model.mimeType = this.panel.content.codeMimetype;
    }
    cell.toggleClass('aiplat-mod-ai', isAi);
  }

  private readonly watched = new WeakSet<Cell>();
}

/** Shows the body of `%%ai` cells as text. */
export const cells: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:cells',
  description: 'Shows the body of %%ai cells as text rather than as Python.',
  autoStart: true,
  requires: [INotebookTracker, IEditorLanguageRegistry],
  optional: [ITranslator],
  activate: (
    _app: JupyterFrontEnd,
    tracker: INotebookTracker,
    languages: IEditorLanguageRegistry,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    languages.addLanguage({ name: 'aiplat-ai', displayName: trans.__('AI cell'), mime: AI_MIME, load: support });
    const watched = new WeakMap<NotebookPanel, CellTypes>();
    const watch = (panel: NotebookPanel) => {
      watched.set(panel, new CellTypes(panel));
    };
    tracker.forEach(watch);
    tracker.widgetAdded.connect((_, panel) => watch(panel));
  }
};
