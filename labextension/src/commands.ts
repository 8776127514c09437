/** The ids of all commands, and the arguments they take. */
export const CommandIDs = {
  openPanel: 'aiplat:open-panel',
  openDashboard: 'aiplat:open-dashboard',
  openCall: 'aiplat:open-call',
  insertCell: 'aiplat:insert-cell',
  newNotebook: 'aiplat:new-notebook',
  startGateway: 'aiplat:start-gateway',
  stopGateway: 'aiplat:stop-gateway',
  openPlan: 'aiplat:open-plan',
  planCell: 'aiplat:plan-cell',
  compareCell: 'aiplat:compare-cell',
  saveCell: 'aiplat:save-cell',
  freshCell: 'aiplat:fresh-cell'
} as const;

/** What `describedBy` of a command without arguments says. */
export const NO_ARGS = { args: { type: 'object', properties: {} } } as const;

/** `openCall` takes the id of a call. */
export const CALL_ARGS = {
  args: {
    type: 'object',
    required: ['callId'],
    properties: { callId: { type: 'string', description: 'The id of a call in the ledger.' } }
  }
} as const;

/** `openPlan` takes the cell that is asked about, and `insertCell` what to write. */
export const PLAN_ARGS = {
  args: {
    type: 'object',
    properties: { cellId: { type: 'string', description: 'The id of a cell of the notebook in front.' } }
  }
} as const;

export const INSERT_ARGS = {
  args: {
    type: 'object',
    properties: { source: { type: 'string', description: 'The cell; an example by default.' } }
  }
} as const;

/** The filters that a dashboard link may carry. */
export const DASHBOARD_FILTERS = ['since', 'until', 'team', 'project', 'model', 'call'] as const;

/** `openDashboard` takes the dashboard's filters, each a text. */
export const DASHBOARD_ARGS = {
  args: {
    type: 'object',
    properties: {
      since: { type: 'string', description: 'A length of time such as 7d, or a date.' },
      until: { type: 'string', description: 'A date.' },
      team: { type: 'string' },
      project: { type: 'string' },
      model: { type: 'string' },
      call: { type: 'string', description: 'The id of a call to show.' }
    }
  }
} as const;

/** `newNotebook` takes a folder and says whether it came from the launcher. */
export const NOTEBOOK_ARGS = {
  args: {
    type: 'object',
    properties: {
      cwd: { type: 'string', description: 'The folder of the new notebook; the file browser’s folder by default.' },
      isPalette: { type: 'boolean' }
    }
  }
} as const;
