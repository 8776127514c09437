import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { alerts } from './features/alerts';
import { cells } from './features/cells';
import { comparison } from './features/comparison';
import { completion } from './features/completion';
import { dashboard } from './features/dashboard';
import { gateway } from './features/gateway';
import { newNotebook } from './features/notebook';
import { output } from './features/output';
import { panel } from './features/panel';
import { provenance } from './features/provenance';
import { record } from './features/record';
import { rename } from './features/rename';
import { status } from './features/status';
import { toolbar } from './features/toolbar';
import { platform } from './platform';

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  platform,
  gateway,
  status,
  panel,
  record,
  dashboard,
  newNotebook,
  cells,
  rename,
  output,
  comparison,
  toolbar,
  completion,
  alerts,
  provenance
];

export default plugins;
