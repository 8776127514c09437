import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { cells } from './features/cells';
import { comparison } from './features/comparison';
import { dashboard } from './features/dashboard';
import { gateway } from './features/gateway';
import { newNotebook } from './features/notebook';
import { output } from './features/output';
import { panel } from './features/panel';
import { record } from './features/record';
import { rename } from './features/rename';
import { status } from './features/status';
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
  comparison
];

export default plugins;
