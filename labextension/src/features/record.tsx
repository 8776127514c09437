import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, MainAreaWidget } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { ReactElement } from 'react';

import { CALL_ARGS, CommandIDs } from '../commands';
import { shortId } from '../figures';
import { callsIcon } from '../icons';
import { IPlatform } from '../tokens';
import { RecordView } from '../views/record';
import { type ICall, isCallId } from '../wire';

/** One call, as a tab beside the notebook; the next call takes its place. */
class Record extends ReactWidget {
  constructor(
    private readonly model: IPlatform,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('aiplat-RecordPanel');
    this.node.tabIndex = -1;
    this.title.icon = callsIcon;
  }

  /** Reads and shows a call; the last one asked for wins. */
  async display(callId: string): Promise<void> {
    this.asked = callId;
    this.call = null;
    this.problem = '';
    this.title.label = this.trans.__('Call %1', shortId(callId));
    this.title.caption = callId;
    this.update();
    let call: ICall | null = null;
    let problem = '';
    try {
      call = await this.model.call(callId);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (this.asked === callId && !this.isDisposed) {
      this.call = call;
      this.problem = problem;
      this.node.scrollTop = 0;
      this.update();
    }
  }

  protected render(): ReactElement {
    if (this.problem) {
      return (
        <p className="aiplat-Problem" role="alert">
          {this.problem}
        </p>
      );
    }
    return this.call ? (
      <RecordView call={this.call} model={this.model} trans={this.trans} copy={text => Clipboard.copyToSystem(text)} />
    ) : (
      <p className="aiplat-note" role="status">
        {this.trans.__('Reading the call…')}
      </p>
    );
  }

  private asked = '';
  private call: ICall | null = null;
  private problem = '';
}

/** Shows the full record of one call. */
export const record: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:record',
  description: 'Shows the full record of one AI call.',
  autoStart: true,
  requires: [IPlatform],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, model: IPlatform, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    let tab: MainAreaWidget<Record> | null = null;
    app.commands.addCommand(CommandIDs.openCall, {
      label: trans.__('Show an AI Call'),
      describedBy: CALL_ARGS,
      isVisible: args => isCallId(args.callId),
      execute: async args => {
        const { callId } = args;
        if (!isCallId(callId)) {
          throw new Error(trans.__('That is not the id of a call.'));
        }
        if (!tab || tab.isDisposed) {
          tab = new MainAreaWidget({ content: new Record(model, trans) });
          tab.id = 'aiplat-record';
        }
        if (!tab.isAttached) {
          app.shell.add(tab, 'main', { mode: 'split-right' });
        }
        app.shell.activateById(tab.id);
        await tab.content.display(callId);
      }
    });
  }
};
