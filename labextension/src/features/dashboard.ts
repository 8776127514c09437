import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, MainAreaWidget } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ILauncher } from '@jupyterlab/launcher';
import { ServerConnection } from '@jupyterlab/services';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { IFrame } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { PanelLayout, Widget } from '@lumino/widgets';

import { CommandIDs, DASHBOARD_ARGS, DASHBOARD_FILTERS } from '../commands';
import { costsIcon } from '../icons';

const NAME = 'aiplat-dashboard';
/** A small file of the dashboard's server: asking for it starts the server, and says whether it could start. */
const PROBE = 'static/js/bokeh.min.js';

type Query = Record<string, string>;

/** The cost dashboard in a frame of the same origin, behind the Jupyter server's own authentication. */
class Dashboard extends Widget {
  constructor(
    private readonly server: ServerConnection.ISettings,
    private readonly trans: TranslationBundle,
    private readonly theme: () => string
  ) {
    super();
    this.addClass('aiplat-Dashboard');
    this.title.label = trans.__('AI costs');
    this.title.icon = costsIcon;
    this.frame.addClass('aiplat-Dashboard-frame');
    this.frame.node.querySelector('iframe')?.setAttribute('title', trans.__('Cost dashboard'));
    this.notice.addClass('aiplat-Dashboard-notice');
    this.notice.node.setAttribute('role', 'status');
    const layout = new PanelLayout();
    layout.addWidget(this.notice);
    layout.addWidget(this.frame);
    this.layout = layout;
  }

  /** Shows the dashboard with these filters, once its server answers. */
  async open(filters: Query): Promise<void> {
    const asked = ++this.asked;
    this.say(this.trans.__('Starting the dashboard…'));
    const problem = await this.probe();
    if (asked !== this.asked || this.isDisposed) {
      return;
    }
    if (problem) {
      this.say(problem, () => void this.open(filters));
      return;
    }
    const query = URLExt.objectToQueryString({ ...filters, theme: this.theme() });
    this.frame.url = URLExt.join(this.server.baseUrl, NAME, 'cost') + query;
    this.say('');
  }

  /** Draws the page again in the theme of now, with the filters that the reader has set in it. */
  retheme(): void {
    const inner = this.frame.node.querySelector('iframe')?.contentWindow;
    if (!inner || !this.frame.url) {
      return;
    }
    const here = new URL(inner.location.href);
    if (here.protocol.startsWith('http') && here.searchParams.get('theme') !== this.theme()) {
      here.searchParams.set('theme', this.theme());
      this.frame.url = here.href;
    }
  }

  private async probe(): Promise<string> {
    const url = URLExt.join(this.server.baseUrl, NAME, PROBE);
    try {
      const response = await ServerConnection.makeRequest(url, { method: 'HEAD' }, this.server);
      return response.ok
        ? ''
        : this.trans.__('The dashboard did not start (%1). The Jupyter server’s log says why.', response.status);
    } catch {
      return this.trans.__('The Jupyter server cannot be reached.');
    }
  }

  private say(text: string, again?: () => void): void {
    this.notice.node.replaceChildren();
    this.notice.setHidden(!text);
    this.frame.setHidden(Boolean(text));
    if (!text) {
      return;
    }
    const line = document.createElement('p');
    line.textContent = text;
    this.notice.node.append(line);
    if (again) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'aiplat-Button';
      button.textContent = this.trans.__('Try again');
      button.addEventListener('click', again);
      this.notice.node.append(button);
    }
  }

  private readonly frame = new IFrame({
    sandbox: ['allow-scripts', 'allow-same-origin', 'allow-forms', 'allow-downloads', 'allow-popups']
  });
  private readonly notice = new Widget();
  private asked = 0;
}

function query(args: ReadonlyPartialJSONObject): Query {
  const found: Query = {};
  for (const name of DASHBOARD_FILTERS) {
    const value = args[name];
    if (typeof value === 'string' && value) {
      found[name] = value;
    }
  }
  return found;
}

/** The cost dashboard as a tab. */
export const dashboard: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:dashboard',
  description: 'Opens the cost dashboard as a tab.',
  autoStart: true,
  optional: [IThemeManager, ITranslator, ICommandPalette, ILauncher],
  activate: (
    app: JupyterFrontEnd,
    themes: IThemeManager | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const theme = () => (themes?.theme && !themes.isLight(themes.theme) ? 'dark' : 'light');
    let tab: MainAreaWidget<Dashboard> | null = null;
    themes?.themeChanged.connect(() => tab?.content.retheme());

    app.commands.addCommand(CommandIDs.openDashboard, {
      label: args => (args.isPalette ? trans.__('Open the AI Cost Dashboard') : trans.__('AI costs')),
      caption: trans.__('What AI calls cost, by day, team, project and model'),
      icon: costsIcon,
      describedBy: DASHBOARD_ARGS,
      execute: args => {
        const filters = query(args);
        const isNew = !tab || tab.isDisposed;
        if (!tab || isNew) {
          tab = new MainAreaWidget({ content: new Dashboard(app.serviceManager.serverSettings, trans, theme) });
          tab.id = NAME;
        }
        if (!tab.isAttached) {
          app.shell.add(tab, 'main');
        }
        app.shell.activateById(tab.id);
        if (isNew || Object.keys(filters).length) {
          void tab.content.open(filters);
        }
      }
    });
    palette?.addItem({ command: CommandIDs.openDashboard, category: trans.__('AI'), args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.openDashboard, category: trans.__('AI'), rank: 3 });
  }
};
