import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import {
  type CompletionHandler,
  type ICompletionContext,
  type ICompletionProvider,
  ICompletionProviderManager
} from '@jupyterlab/completer';
import { NotebookPanel } from '@jupyterlab/notebook';

import { complete, variablesOf } from '../aicell';
import { isAiCell } from '../language';
import { cellsOf } from '../notebookCells';
import { IPlatform } from '../tokens';

const KEPT_MS = 30_000;

/** Options, models, prompts and variables inside `%%ai` cells. */
class Completion implements ICompletionProvider {
  constructor(private readonly model: IPlatform) {}

  readonly identifier = 'aiplat-lab:completion';
  readonly rank = 1100;
  readonly renderer = null;

  async isApplicable(context: ICompletionContext): Promise<boolean> {
    return isAiCell(context.editor?.model.sharedModel.getSource() ?? '');
  }

  async fetch(
    request: CompletionHandler.IRequest,
    context: ICompletionContext
  ): Promise<CompletionHandler.ICompletionItemsReply> {
    const panel = context.widget instanceof NotebookPanel ? context.widget : null;
    const inBody = request.text.slice(0, request.offset).includes('\n');
    const { models, prompts } = inBody ? { models: [], prompts: [] } : await this.names();
    const variables = inBody ? variablesOf(cellsOf(panel).map(cell => cell.source)) : [];
    const found = complete(request.text, request.offset, { models, prompts, variables });
    return {
      start: found.start,
      end: request.offset,
      items: found.items.map(item => ({ label: item.text, insertText: item.text, type: item.kind }))
    };
  }

  /** The models and prompts, read again when they are older than half a minute; none where the gateway does not answer. */
  private async names(): Promise<{ models: readonly string[]; prompts: readonly string[] }> {
    if (Date.now() - this.at > KEPT_MS && this.model.state.gateway === 'running') {
      this.at = Date.now();
      const [models, prompts] = await Promise.allSettled([this.model.models(), this.model.prompts()]);
      this.known = {
        models: models.status === 'fulfilled' ? models.value : this.known.models,
        prompts: prompts.status === 'fulfilled' ? prompts.value.map(prompt => prompt.name) : this.known.prompts
      };
    }
    return this.known;
  }

  private at = 0;
  private known: { models: readonly string[]; prompts: readonly string[] } = { models: [], prompts: [] };
}

/** Completes inside `%%ai` cells. */
export const completion: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:completion',
  description: 'Completes options, models, prompts and variables inside %%ai cells.',
  autoStart: true,
  requires: [IPlatform],
  optional: [ICompletionProviderManager],
  activate: (_app: JupyterFrontEnd, model: IPlatform, manager: ICompletionProviderManager | null): void => {
    manager?.registerProvider(new Completion(model));
  }
};
