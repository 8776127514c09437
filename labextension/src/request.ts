import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { parseError } from './wire';

/** The relay answered with an error; `message` is a sentence for a person. */
export class RelayError extends Error {
  constructor(
    message: string,
    readonly status: number
  ) {
    super(message);
  }
}

/**
 * Asks the relay in the Jupyter server, with Jupyter's own authentication.
 *
 * @throws RelayError the relay said no, or said it in something else than JSON.
 * @throws ServerConnection.NetworkError the Jupyter server cannot be reached.
 */
export async function relay(
  settings: ServerConnection.ISettings,
  path: string,
  options: { method?: 'GET' | 'POST'; body?: unknown; query?: Readonly<Record<string, string>> } = {}
): Promise<unknown> {
  const query = options.query ? URLExt.objectToQueryString(options.query) : '';
  const url = URLExt.join(settings.baseUrl, 'aiplat', 'api', path) + query;
  const init: RequestInit =
    options.method === 'POST' ? { method: 'POST', body: JSON.stringify(options.body ?? {}) } : {};
  const response = await ServerConnection.makeRequest(url, init, settings);
  const body = await response.text();
  let data: unknown;
  try {
    data = JSON.parse(body);
  } catch {
    throw new RelayError(`The Jupyter server answered ${response.status} without JSON.`, response.status);
  }
  if (!response.ok) {
    throw new RelayError(parseError(data) || `The Jupyter server answered ${response.status}.`, response.status);
  }
  return data;
}
