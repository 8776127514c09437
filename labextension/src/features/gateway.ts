import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs, NO_ARGS } from '../commands';
import { IPlatform } from '../tokens';

/** Commands that start and stop the gateway. */
export const gateway: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:gateway',
  description: 'Commands that start and stop the AI gateway.',
  autoStart: true,
  requires: [IPlatform],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    model: IPlatform,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    app.commands.addCommand(CommandIDs.startGateway, {
      label: trans.__('Start the AI Gateway'),
      describedBy: NO_ARGS,
      isEnabled: () => !model.state.remote && ['stopped', 'error'].includes(model.state.gateway),
      execute: async () => {
        await model.start();
        if (model.state.gateway === 'error') {
          Notification.error(trans.__('The AI gateway did not start: %1', model.state.message), { autoClose: false });
        }
      }
    });
    app.commands.addCommand(CommandIDs.stopGateway, {
      label: trans.__('Stop the AI Gateway'),
      describedBy: NO_ARGS,
      isEnabled: () => !model.state.remote && model.state.gateway === 'running',
      execute: async () => {
        await model.stop();
        if (model.state.gateway === 'error') {
          Notification.error(trans.__('The AI gateway did not stop: %1', model.state.message), { autoClose: false });
        }
      }
    });
    model.changed.connect(() => {
      app.commands.notifyCommandChanged(CommandIDs.startGateway);
      app.commands.notifyCommandChanged(CommandIDs.stopGateway);
    });
    for (const command of [CommandIDs.startGateway, CommandIDs.stopGateway]) {
      palette?.addItem({ command, category: trans.__('AI') });
    }
  }
};
