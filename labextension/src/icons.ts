import { LabIcon } from '@jupyterlab/ui-components';

function drawing(paths: string): string {
  return (
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24" fill="none" stroke-width="1.8" ' +
    `stroke-linecap="round" stroke-linejoin="round"><g class="jp-icon3 jp-icon-selectable" stroke="#616161">${paths}</g></svg>`
  );
}

/** A spark: a call, the panel, an AI notebook. */
export const callsIcon = new LabIcon({
  name: 'aiplat:calls',
  svgstr: drawing(
    '<path d="M11 4.5l1.7 4.3a3 3 0 0 0 1.7 1.7l4.3 1.7-4.3 1.7a3 3 0 0 0-1.7 1.7L11 19.9l-1.7-4.3a3 3 0 0 0-1.7-1.7l-4.3-1.7 4.3-1.7a3 3 0 0 0 1.7-1.7z"/>' +
      '<path d="M19 3.2v4.2M16.9 5.3h4.2"/>'
  )
});

/** Columns: the cost dashboard. */
export const costsIcon = new LabIcon({
  name: 'aiplat:costs',
  svgstr: drawing('<path d="M4 20h16"/>' + '<path d="M7 16.5v-4M12 16.5V8M17 16.5V4.5"/>')
});
