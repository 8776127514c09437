"use strict";(self.rspackChunkaiplat_lab=self.rspackChunkaiplat_lab||[]).push([[232],{475(a,t,r){var e=r(601),i=r.n(e),o=r(314),n=(r.n(o))()(i());n.push([a.id,`/*
 * One calm voice: JupyterLab's own variables for colour, type and borders, so that both themes and every other follow.
 * Our names are aiplat-*; colours of our own are mixed from JupyterLab's.
 */

:root {
  --aiplat-ok: var(--jp-success-color1);
  --aiplat-warn: var(--jp-warn-color1);
  --aiplat-bad: var(--jp-error-color1);
  --aiplat-gap: 12px;
  --aiplat-line: var(--jp-border-width) solid var(--jp-border-color2);
  --aiplat-radius: 4px;

  /* The quiet text colour, dark enough to be read (4.5 to 1) on the panel in both themes. */
  --aiplat-quiet: color-mix(in srgb, var(--jp-ui-font-color1) 72%, var(--jp-layout-color1));
  --aiplat-bad-text: color-mix(in srgb, var(--jp-error-color1) 70%, var(--jp-ui-font-color0));
  --aiplat-warn-text: color-mix(in srgb, var(--jp-warn-color1) 45%, var(--jp-ui-font-color0));
}

.aiplat-hidden {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

.aiplat-note,
.aiplat-aside {
  color: var(--aiplat-quiet);
  font-size: var(--jp-ui-font-size0);
}

.aiplat-figure {
  font-variant-numeric: tabular-nums;
  white-space: nowrap;
}

.aiplat-list {
  list-style: none;
  margin: 0;
  padding: 0;
}

.aiplat-row {
  display: flex;
  justify-content: space-between;
  gap: 8px;
}

.aiplat-Tag {
  display: inline-block;
  padding: 0 5px;
  border: var(--jp-border-width) solid var(--jp-border-color1);
  border-radius: 9px;
  color: var(--aiplat-quiet);
  font-size: calc(var(--jp-ui-font-size0) * 0.95);
  line-height: 1.45;
  white-space: nowrap;
}

.aiplat-Button {
  padding: 3px 10px;
  border: var(--jp-border-width) solid var(--jp-border-color1);
  border-radius: var(--aiplat-radius);
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font: inherit;
  font-size: var(--jp-ui-font-size1);
  line-height: 18px;
  cursor: pointer;
}

.aiplat-Button:hover {
  background: var(--jp-layout-color2);
}

.aiplat-Button[data-primary="true"] {
  border-color: var(--jp-inverse-layout-color2);
  background: var(--jp-inverse-layout-color2);
  color: var(--jp-layout-color0);
}

.aiplat-Button[data-primary="true"]:hover {
  background: var(--jp-inverse-layout-color3);
}

.aiplat-Panel :focus-visible,
.aiplat-RecordPanel :focus-visible,
.aiplat-Answer :focus-visible,
.aiplat-StatusItem:focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: -1px;
}

/* --- the gateway's state ------------------------------------------------------------------------------------------ */

.aiplat-Dot {
  display: inline-block;
  flex: none;
  width: 7px;
  height: 7px;
  border: 1.5px solid var(--jp-ui-font-color2);
  border-radius: 50%;
  box-sizing: border-box;
}

.aiplat-Dot[data-state="running"] {
  border-color: var(--aiplat-ok);
  background: var(--aiplat-ok);
}

.aiplat-Dot[data-state="starting"] {
  border-color: var(--aiplat-warn);
  background: var(--aiplat-warn);
  animation: aiplat-breathe 1.4s ease-in-out infinite;
}

.aiplat-Dot[data-state="error"] {
  border-color: var(--aiplat-bad);
  border-radius: 1px;
  background: var(--aiplat-bad);
}

@keyframes aiplat-breathe {
  50% {
    opacity: 0.3;
  }
}

@media (prefers-reduced-motion: reduce) {
  .aiplat-Dot[data-state="starting"],
  .aiplat-Answer-running {
    animation: none;
  }
}

.aiplat-StatusItem {
  display: inline-flex;
  align-items: center;
  gap: 6px;
  height: 100%;
  margin: 0;
  padding: 0;
  border: none;
  background: none;
  font-variant-numeric: tabular-nums;
  cursor: pointer;
}

/* --- the panel ---------------------------------------------------------------------------------------------------- */

.aiplat-Panel {
  display: flex;
  flex-direction: column;
  min-width: 220px;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.45;
}

.aiplat-Panel-head {
  display: flex;
  flex: none;
  align-items: center;
  justify-content: space-between;
  gap: 8px;
  padding: 8px var(--aiplat-gap);
  border-bottom: var(--aiplat-line);
}

.aiplat-Panel-head h2 {
  margin: 0;
  font-size: var(--jp-ui-font-size2);
  font-weight: 600;
}

.aiplat-Panel-body {
  flex: 1;
  overflow: hidden auto;
  padding-bottom: 24px;
}

.aiplat-Gateway {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  justify-content: space-between;
  gap: 6px;
  padding: 10px var(--aiplat-gap);
}

.aiplat-Gateway-line {
  display: flex;
  flex: 1;
  align-items: center;
  gap: 8px;
}

.aiplat-Gateway-word {
  white-space: nowrap;
}

.aiplat-Gateway-line .aiplat-aside {
  margin-left: auto;
}

.aiplat-Gateway-why {
  flex-basis: 100%;
  margin: 2px 0 0;
  color: var(--aiplat-quiet);
  overflow-wrap: anywhere;
}

.aiplat-Spend {
  display: grid;
  grid-template-columns: repeat(2, minmax(max-content, 1fr));
  gap: 8px 12px;
  margin: 0;
  padding: 2px var(--aiplat-gap) 12px;
}

.aiplat-Spend dt {
  color: var(--aiplat-quiet);
  font-size: var(--jp-ui-font-size0);
}

.aiplat-Spend dd {
  margin: 0;
}

.aiplat-Spend dt + dd {
  color: var(--jp-ui-font-color0);
  font-size: calc(var(--jp-ui-font-size1) * 1.35);
  font-variant-numeric: tabular-nums;
  font-weight: 600;
  letter-spacing: -0.01em;
  line-height: 1.3;
}

.aiplat-Section {
  padding: 10px var(--aiplat-gap) 12px;
  border-top: var(--aiplat-line);
}

.aiplat-Section > header {
  display: flex;
  align-items: baseline;
  justify-content: space-between;
  margin-bottom: 6px;
}

.aiplat-Section h3 {
  margin: 0;
  color: var(--jp-ui-font-color0);
  font-size: var(--jp-ui-font-size1);
  font-weight: 600;
}

.aiplat-Budget + .aiplat-Budget {
  margin-top: 12px;
}

.aiplat-Budget-who {
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.aiplat-Bar {
  display: flex;
  height: 6px;
  margin: 4px 0;
  border-radius: 3px;
  background: var(--jp-layout-color3);
  overflow: hidden;
}

.aiplat-Bar-spent {
  min-width: 0;
  background: var(--jp-ui-font-color1);
  opacity: 0.75;
}

.aiplat-Bar-held {
  background: repeating-linear-gradient(-45deg, var(--jp-ui-font-color2) 0 2px, transparent 2px 4px);
}

.aiplat-Budget[data-level="near"] .aiplat-Bar-spent {
  background: var(--aiplat-warn);
  opacity: 1;
}

.aiplat-Budget[data-level="over"] .aiplat-Bar-spent {
  background: var(--aiplat-bad);
  opacity: 1;
}

.aiplat-Budget[data-level="near"] .aiplat-Budget-percent {
  color: var(--aiplat-warn-text);
}

.aiplat-Budget[data-level="over"] .aiplat-Budget-percent {
  color: var(--aiplat-bad-text);
  font-weight: 600;
}

.aiplat-Incident,
.aiplat-Problem {
  margin: 0;
  padding: 6px 8px;
  border-left: 3px solid var(--aiplat-warn);
  background: color-mix(in srgb, var(--aiplat-warn) 8%, transparent);
  overflow-wrap: anywhere;
}

.aiplat-Incident + .aiplat-Incident {
  margin-top: 6px;
}

.aiplat-Problem {
  border-left-color: var(--aiplat-bad);
  background: color-mix(in srgb, var(--aiplat-bad) 8%, transparent);
}

.aiplat-Problem[data-status="refused"] {
  border-left-color: var(--aiplat-warn);
  background: color-mix(in srgb, var(--aiplat-warn) 8%, transparent);
}

.aiplat-Problem[data-status="cancelled"] {
  border-left-color: var(--jp-border-color1);
  background: var(--jp-layout-color2);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

.aiplat-Calls-name {
  margin: -4px 0 6px;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.aiplat-Calls {
  margin: 0 calc(-1 * var(--aiplat-gap));
}

.aiplat-Call {
  display: grid;
  grid-template-columns: 14px minmax(0, 1fr) auto;
  column-gap: 8px;
  align-items: center;
  width: 100%;
  padding: 5px var(--aiplat-gap);
  border: none;
  background: none;
  color: inherit;
  font: inherit;
  text-align: left;
  cursor: pointer;
}

.aiplat-Call:hover {
  background: var(--jp-layout-color2);
}

.aiplat-Call-model {
  overflow: hidden;
  color: var(--jp-ui-font-color0);
  text-overflow: ellipsis;
  white-space: nowrap;
}

.aiplat-Call-facts {
  grid-column: 2 / -1;
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 0 6px;
}

.aiplat-Call-error {
  color: var(--aiplat-bad-text);
}

.aiplat-Mark {
  display: inline-flex;
  color: var(--aiplat-quiet);
}

.aiplat-Mark[data-status="ok"] {
  color: var(--aiplat-ok);
}

.aiplat-Mark[data-status="error"] {
  color: var(--aiplat-bad);
}

.aiplat-Mark[data-status="refused"] {
  color: var(--aiplat-warn);
}

.aiplat-Teach p {
  margin: 0 0 8px;
}

.aiplat-Teach pre {
  margin: 0 0 8px;
  padding: 8px 10px;
  border: var(--jp-border-width) solid var(--jp-cell-editor-border-color);
  border-radius: var(--aiplat-radius);
  background: var(--jp-cell-editor-background);
  color: var(--jp-content-font-color1);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  line-height: var(--jp-code-line-height);
  white-space: pre-wrap;
}

.aiplat-Teach-magic {
  color: var(--jp-mirror-editor-meta-color);
}

/* --- the record of a call ------------------------------------------------------------------------------------------ */

.aiplat-RecordPanel {
  overflow: auto;
  background: var(--jp-layout-color0);
  color: var(--jp-content-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.5;
}

.aiplat-RecordPanel > p {
  margin: 20px;
}

.aiplat-Record {
  max-width: 860px;
  padding: 20px 24px 48px;
}

.aiplat-Record h2,
.aiplat-Record h3 {
  margin: 0;
  color: var(--jp-ui-font-color0);
  font-weight: 600;
}

.aiplat-Record h2 {
  font-size: var(--jp-ui-font-size3);
}

.aiplat-Record h3 {
  font-size: var(--jp-ui-font-size1);
}

.aiplat-Record-head {
  display: flex;
  flex-wrap: wrap;
  align-items: flex-start;
  justify-content: space-between;
  gap: 8px;
}

.aiplat-Record-head code,
.aiplat-Columns dd {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  overflow-wrap: anywhere;
}

.aiplat-Record-head code {
  color: var(--aiplat-quiet);
}

.aiplat-Record .aiplat-Problem {
  margin: 14px 0 0;
}

.aiplat-Summary {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 32px;
  margin: 16px 0;
  padding: 12px 0;
  border: solid var(--jp-border-color2);
  border-width: var(--jp-border-width) 0;
}

.aiplat-Summary dt,
.aiplat-Columns dt {
  color: var(--aiplat-quiet);
  font-size: var(--jp-ui-font-size0);
}

.aiplat-Summary dd {
  margin: 0;
  color: var(--jp-ui-font-color0);
  font-size: var(--jp-ui-font-size2);
  font-variant-numeric: tabular-nums;
}

.aiplat-Block {
  margin-bottom: 16px;
}

.aiplat-Block pre {
  margin: 6px 0 0;
  padding: 10px 12px;
  border: var(--aiplat-line);
  border-radius: var(--aiplat-radius);
  background: color-mix(in srgb, var(--jp-layout-color2) 45%, var(--jp-layout-color0));
  color: var(--jp-content-font-color1);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  line-height: 1.5;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

.aiplat-Block[data-kind="answer"] pre {
  border-left: 3px solid var(--jp-brand-color1);
  background: none;
}

.aiplat-Columns {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr));
  gap: 20px 32px;
  padding-top: 16px;
  border-top: var(--aiplat-line);
}

.aiplat-Columns dl {
  margin: 6px 0 0;
}

.aiplat-Columns dl > div {
  display: grid;
  grid-template-columns: minmax(120px, 36%) minmax(0, 1fr);
  gap: 0 12px;
  align-items: baseline;
  padding: 2px 0;
}

.aiplat-Columns dd {
  margin: 0;
}

/* --- the answer in a cell's output --------------------------------------------------------------------------------- */

.aiplat-Answer {
  padding: 2px 0 4px;
  font-family: var(--jp-content-font-family);
}

/* Nothing of an answer is drawn beyond its own box, nor does its direction reach the line under it. */
.aiplat-Answer-body {
  contain: paint;
  unicode-bidi: isolate;
}

.aiplat-Answer-foot {
  unicode-bidi: isolate;
}

.aiplat-Answer-block {
  display: block;
  content-visibility: auto;
  contain-intrinsic-size: auto 1500px;
}

.aiplat-Answer pre.aiplat-Answer-body {
  margin: 0;
  padding: var(--jp-code-padding) 0;
  color: var(--jp-content-font-color1);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  line-height: var(--jp-code-line-height);
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

.aiplat-Answer .aiplat-Answer-body.jp-RenderedHTMLCommon {
  max-width: 80ch;
  padding-right: 0;
}

.aiplat-Answer .aiplat-Answer-body.jp-RenderedHTMLCommon > :last-child {
  margin-bottom: 0;
}

.aiplat-Answer[data-format="code"] .aiplat-Answer-body > pre,
.aiplat-Answer[data-format="json"] .aiplat-Answer-body > pre {
  margin: 2px 0 0;
  padding: 8px 10px;
  border: var(--jp-border-width) solid var(--jp-border-color2);
  border-radius: var(--aiplat-radius);
}

.aiplat-Answer[data-status="cancelled"] .aiplat-Answer-body {
  opacity: 0.75;
}

.aiplat-Answer-reason {
  margin: 4px 0;
  padding: 6px 10px;
  border-left: 3px solid var(--aiplat-bad);
  background: color-mix(in srgb, var(--aiplat-bad) 8%, transparent);
  color: var(--jp-content-font-color1);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.5;
  overflow-wrap: anywhere;
}

.aiplat-Answer[data-status="refused"] .aiplat-Answer-reason {
  border-left-color: var(--aiplat-warn);
  background: color-mix(in srgb, var(--aiplat-warn) 8%, transparent);
}

.aiplat-Answer[data-status="cancelled"] .aiplat-Answer-reason {
  border-left-color: var(--jp-border-color1);
  background: var(--jp-layout-color2);
}

/* A failed call raises, so that what follows does not run; the sentence has been said already, just above. */
.jp-OutputArea-child:has(> .aiplat-Answer > .aiplat-Answer-foot > .aiplat-Answer-reason)
+ .jp-OutputArea-child:has(> [data-mime-type="application/vnd.jupyter.stderr"] > pre > .ansi-red-fg:first-child) {
  display: none;
}

.aiplat-Answer-facts {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 2px 0;
  margin: 4px 0 0 -14px;
  clip-path: inset(-3px -3px -3px 11px);
  color: var(--aiplat-quiet);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size0);
  font-variant-numeric: tabular-nums;
  line-height: 20px;
}

/* A dot stands before each fact; the one at the beginning of a line lies beyond the edge. */
.aiplat-Answer-facts > ::before {
  content: "\xb7";
  display: inline-block;
  width: 14px;
  color: var(--jp-ui-font-color2);
  text-align: center;
}

.aiplat-Answer-facts > .aiplat-Tag {
  margin-left: 14px;
}

.aiplat-Answer-facts > .aiplat-Tag::before {
  content: none;
}

.aiplat-Answer-id,
.aiplat-Answer-copy {
  padding: 0;
  border: none;
  background: none;
  color: inherit;
  font: inherit;
  cursor: pointer;
}

.aiplat-Answer-id {
  font-family: var(--jp-code-font-family);
}

.aiplat-Answer-id:hover,
.aiplat-Answer-copy:hover {
  color: var(--jp-content-link-color);
  text-decoration: underline;
}

.aiplat-Answer-running {
  animation: aiplat-breathe 1.4s ease-in-out infinite;
}

.aiplat-Answer-copy {
  opacity: 0;
}

.aiplat-Answer:hover .aiplat-Answer-copy,
.aiplat-Answer-copy:focus-visible {
  opacity: 1;
}

/* --- the dashboard's tab ------------------------------------------------------------------------------------------- */

.aiplat-Dashboard {
  display: flex;
  flex-direction: column;
  background: var(--jp-layout-color0);
}

.aiplat-Dashboard-frame {
  flex: 1;
}

.aiplat-Dashboard-notice {
  flex: 1;
  display: flex;
  flex-direction: column;
  align-items: center;
  justify-content: center;
  gap: 10px;
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
}

.aiplat-Dashboard-notice.lm-mod-hidden,
.aiplat-Dashboard-frame.lm-mod-hidden {
  display: none;
}

.aiplat-Dashboard-notice p {
  margin: 0;
}

/* --- the record of an A/B experiment ------------------------------------------------------------------------------- */

.aiplat-Ab {
  margin: 4px 2px;
  padding: 14px 18px 12px;
  border: var(--aiplat-line);
  border-radius: 12px;
  color: var(--jp-content-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.5;
}

.aiplat-Ab :focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: 1px;
}

.aiplat-Ab-head {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  justify-content: space-between;
  gap: 2px 16px;
}

.aiplat-Ab .aiplat-Ab-title,
.aiplat-Ab .aiplat-Ab-name {
  margin: 0;
  color: var(--jp-ui-font-color0);
  font-size: var(--jp-ui-font-size1);
  font-weight: 600;
  line-height: 1.5;
  overflow-wrap: anywhere;
}

.aiplat-Ab .aiplat-Ab-title {
  font-size: 15px;
}

.aiplat-Ab .aiplat-Ab-verdict {
  margin: 4px 0 10px;
}

.aiplat-Ab .aiplat-Ab-verdict[data-state="winner"] {
  color: var(--jp-ui-font-color0);
  font-weight: 600;
}

.aiplat-Ab-frame {
  overflow-x: auto;
}

.aiplat-Ab .aiplat-Ab-table {
  width: 100%;
  margin: 0 0 8px;
  border-collapse: collapse;
  font-size: var(--jp-ui-font-size1);
  table-layout: auto;
}

.aiplat-Ab .aiplat-Ab-table :is(th, td) {
  max-width: none;
  padding: 5px 12px 5px 0;
  border: none;
  border-bottom: var(--aiplat-line);
  background: none;
  text-align: left;
  vertical-align: baseline;
  white-space: nowrap;
}

.aiplat-Ab .aiplat-Ab-table thead th {
  color: var(--aiplat-quiet);
  font-size: var(--jp-ui-font-size0);
  font-weight: 400;
}

.aiplat-Ab .aiplat-Ab-table tbody th {
  color: var(--jp-ui-font-color0);
  font-weight: 600;
}

.aiplat-Ab .aiplat-Ab-table .aiplat-Ab-prompt {
  width: 40%;
  max-width: 300px;
  overflow: hidden;
  text-overflow: ellipsis;
}

.aiplat-Ab-input {
  border-bottom: var(--aiplat-line);
}

.aiplat-Ab-summary {
  display: flex;
  align-items: baseline;
  gap: 10px;
  padding: 7px 0;
  cursor: pointer;
  list-style: none;
}

.aiplat-Ab-summary::-webkit-details-marker {
  display: none;
}

.aiplat-Ab-summary::before {
  content: "";
  flex: none;
  width: 6px;
  height: 6px;
  border: solid var(--aiplat-quiet);
  border-width: 0 1.5px 1.5px 0;
  transform: rotate(-45deg) translate(-1px, -1px);
}

.aiplat-Ab-input[open] > .aiplat-Ab-summary::before {
  transform: rotate(45deg) translate(-2px, -2px);
}

.aiplat-Ab-number {
  color: var(--aiplat-quiet);
  font-variant-numeric: tabular-nums;
}

.aiplat-Ab-short {
  flex: 1;
  min-width: 0;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.aiplat-Ab-summary .aiplat-aside {
  white-space: nowrap;
}

.aiplat-Ab pre.aiplat-Ab-asked {
  max-height: 12em;
  margin: 0 0 10px;
  padding: 6px 12px;
  overflow: auto;
  border-left: 3px solid var(--jp-border-color2);
  background: color-mix(in srgb, var(--jp-layout-color2) 45%, transparent);
  color: inherit;
  font-family: inherit;
  font-size: inherit;
  line-height: inherit;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

.aiplat-Ab-answers {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(260px, 100%), 1fr));
  gap: 12px;
  margin-bottom: 8px;
}

.aiplat-Ab-card {
  min-width: 0;
  padding: 8px 12px;
  border: var(--aiplat-line);
  border-radius: 8px;
  background: var(--jp-layout-color0);
}

.aiplat-Ab-card[data-chosen="true"] {
  border-color: var(--jp-brand-color1);
}

.aiplat-Ab-cardhead {
  display: flex;
  align-items: baseline;
  justify-content: space-between;
  gap: 8px;
}

.aiplat-Ab .aiplat-Ab-text.jp-RenderedHTMLCommon {
  padding: 4px 0 0;
}

.aiplat-Ab .aiplat-Ab-text.jp-RenderedHTMLCommon :is(h1, h2, h3, h4, h5, h6) {
  margin: 0.6em 0 0.4em;
  font-size: var(--jp-content-font-size1);
  font-weight: 600;
  line-height: 1.5;
}

.aiplat-Ab .aiplat-Ab-text.jp-RenderedHTMLCommon > :last-child {
  margin-bottom: 4px;
}

.aiplat-Ab .aiplat-Ab-vote,
.aiplat-Ab .aiplat-Ab-foot {
  margin: 0 0 8px;
  color: var(--aiplat-quiet);
  font-size: var(--jp-ui-font-size0);
}

.aiplat-Ab .aiplat-Ab-foot {
  margin: 10px 0 0;
  overflow-wrap: anywhere;
}

.aiplat-Ab-foot code {
  color: inherit;
  font-size: inherit;
}

/* A control without its kernel says only that it is not there; the record under it has everything. */
.jp-OutputArea-child:not(:has(.aab)):has(> .lm-Panel.jp-OutputArea-output):has(+ .jp-OutputArea-child > .aiplat-Ab) {
  display: none;
}

/* --- the list of calls, of which only what is in sight is in the page ------------------------------------------------ */

.aiplat-Calls {
  position: relative;
}

.aiplat-Calls > li {
  position: absolute;
  inset: 0 0 auto;
  contain: strict;
}

.aiplat-Calls .aiplat-Call {
  height: 100%;
  align-content: center;
}

.aiplat-Calls .aiplat-Call-facts {
  flex-wrap: nowrap;
  overflow: hidden;
  white-space: nowrap;
}

/* --- folds: plan, prompts, evalsets ----------------------------------------------------------------------------------- */

.aiplat-Fold {
  padding-block: 4px;
}

.aiplat-Fold[data-open="true"] {
  padding-bottom: 12px;
}

.aiplat-Fold-head {
  display: flex;
  align-items: center;
  gap: 6px;
  width: calc(100% + 2 * var(--aiplat-gap));
  margin: 0 calc(-1 * var(--aiplat-gap));
  padding: 6px var(--aiplat-gap);
  border: none;
  background: none;
  color: inherit;
  font: inherit;
  text-align: start;
  cursor: pointer;
}

.aiplat-Fold-head:hover,
.aiplat-Prompt:hover,
.aiplat-Planned > button:hover {
  background: var(--jp-layout-color2);
}

.aiplat-Fold-mark {
  flex: none;
  color: var(--aiplat-quiet);
}

.aiplat-Fold[data-open="true"] .aiplat-Fold-mark {
  transform: rotate(90deg);
}

.aiplat-Input {
  box-sizing: border-box;
  width: 100%;
  margin: 2px 0 8px;
  padding: 4px 8px;
  border: var(--jp-border-width) solid var(--jp-border-color1);
  border-radius: var(--aiplat-radius);
  background: var(--jp-layout-color0);
  color: var(--jp-ui-font-color0);
  font: inherit;
}

.aiplat-Input::placeholder {
  color: var(--aiplat-quiet);
  opacity: 1;
}

.aiplat-Prompts,
.aiplat-Plan {
  margin: 0 calc(-1 * var(--aiplat-gap)) 8px;
}

.aiplat-Prompt,
.aiplat-Planned > button {
  width: 100%;
  padding: 4px var(--aiplat-gap);
  border: none;
  background: none;
  color: inherit;
  font: inherit;
  text-align: start;
  cursor: pointer;
}

.aiplat-Prompt {
  display: flex;
  align-items: baseline;
  justify-content: space-between;
  gap: 8px;
}

.aiplat-Prompt > .aiplat-note {
  display: inline-flex;
  flex: none;
  gap: 4px;
}

.aiplat-Prompt-name {
  overflow: hidden;
  color: var(--jp-ui-font-color0);
  text-overflow: ellipsis;
  white-space: nowrap;
}

.aiplat-Prompt[aria-expanded="true"] .aiplat-Prompt-name {
  font-weight: 600;
}

.aiplat-Prompt-preview {
  padding: 2px var(--aiplat-gap) 10px;
}

.aiplat-Prompt-preview p {
  margin: 0 0 6px;
}

.aiplat-Prompt-preview pre {
  max-height: 220px;
  margin: 0 0 8px;
  padding: 8px 10px;
  border: var(--aiplat-line);
  border-radius: var(--aiplat-radius);
  background: color-mix(in srgb, var(--jp-layout-color2) 45%, var(--jp-layout-color0));
  color: var(--jp-content-font-color1);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  line-height: 1.45;
  white-space: pre-wrap;
  overflow: auto;
  overflow-wrap: anywhere;
}

.aiplat-Prompt-preview pre[data-role="system"] {
  border-inline-start: 3px solid var(--jp-border-color1);
}

.aiplat-Button:disabled {
  opacity: 0.6;
  cursor: default;
}

.aiplat-Evalset + .aiplat-Evalset {
  margin-top: 10px;
}

.aiplat-Plan-total {
  margin: 2px 0 8px;
}

.aiplat-Plan-total strong {
  color: var(--jp-ui-font-color0);
  font-variant-numeric: tabular-nums;
}

.aiplat-Planned > button {
  display: grid;
  grid-template-columns: auto minmax(0, 1fr) auto;
  column-gap: 8px;
  align-items: baseline;
}

.aiplat-Planned[data-chosen="true"] > button {
  background: color-mix(in srgb, var(--jp-brand-color1) 10%, transparent);
  box-shadow: inset 3px 0 var(--jp-brand-color1);
}

.aiplat-Planned-number {
  min-width: 1.6em;
  color: var(--aiplat-quiet);
  font-variant-numeric: tabular-nums;
  text-align: end;
}

.aiplat-Planned-title {
  overflow: hidden;
  color: var(--jp-ui-font-color0);
  text-overflow: ellipsis;
  white-space: nowrap;
}

.aiplat-Planned-said {
  grid-column: 2 / -1;
  color: var(--aiplat-bad-text);
  font-size: var(--jp-ui-font-size0);
  overflow-wrap: anywhere;
}

.aiplat-Tag[data-state="replay"] {
  border-color: color-mix(in srgb, var(--aiplat-ok) 60%, transparent);
}

.aiplat-Tag[data-state="refused"],
.aiplat-Tag[data-state="error"] {
  border-color: var(--aiplat-bad);
  color: var(--aiplat-bad-text);
}

.aiplat-Underway {
  display: grid;
  grid-template-columns: 14px minmax(0, 1fr) auto;
  column-gap: 8px;
  align-items: center;
  padding: 3px 0;
}

.aiplat-Underway .aiplat-Button {
  grid-row: span 2;
  padding-block: 1px;
}

.aiplat-Underway .aiplat-Call-facts {
  grid-column: 2;
}

.aiplat-Underway .aiplat-Mark svg {
  animation: aiplat-turn 1.2s linear infinite;
}

.aiplat-Underway[data-waits="true"] .aiplat-Mark svg {
  animation: none;
}

@keyframes aiplat-turn {
  to {
    transform: rotate(1turn);
  }
}

@media (prefers-reduced-motion: reduce) {
  .aiplat-Underway .aiplat-Mark svg {
    animation: none;
  }
}

/* --- the cell ---------------------------------------------------------------------------------------------------------- */

.aiplat-CellButtons {
  display: inline-flex;
  align-items: center;
  gap: 1px;
  margin-inline-end: 4px;
  padding-inline-end: 5px;
  border-inline-end: var(--aiplat-line);
}

.aiplat-CellButtons button {
  padding: 1px 6px;
  border: none;
  border-radius: 3px;
  background: none;
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size0);
  line-height: 20px;
  cursor: pointer;
}

.aiplat-CellButtons button:hover {
  background: var(--jp-layout-color2);
}

.aiplat-CellButtons button:focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: -1px;
}

.aiplat-Variable {
  border-radius: 3px;
  background: color-mix(in srgb, var(--jp-brand-color1) 12%, transparent);
  box-shadow: 0 0 0 1px color-mix(in srgb, var(--jp-brand-color1) 25%, transparent);
}

/* A forecast wraps rather than widen its column. */
.aiplat-Spend .aiplat-note {
  contain: inline-size;
}
`,""]),r.d(t,{},{A:n})},314(a){a.exports=function(a){var t=[];return t.toString=function(){return this.map(function(t){var r="",e=void 0!==t[5];return t[4]&&(r+="@supports (".concat(t[4],") {")),t[2]&&(r+="@media ".concat(t[2]," {")),e&&(r+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),r+=a(t),e&&(r+="}"),t[2]&&(r+="}"),t[4]&&(r+="}"),r}).join("")},t.i=function(a,r,e,i,o){"string"==typeof a&&(a=[[null,a,void 0]]);var n={};if(e)for(var l=0;l<this.length;l++){var p=this[l][0];null!=p&&(n[p]=!0)}for(var d=0;d<a.length;d++){var s=[].concat(a[d]);e&&n[s[0]]||(void 0!==o&&(void 0===s[5]||(s[1]="@layer".concat(s[5].length>0?" ".concat(s[5]):""," {").concat(s[1],"}")),s[5]=o),r&&(s[2]&&(s[1]="@media ".concat(s[2]," {").concat(s[1],"}")),s[2]=r),i&&(s[4]?(s[1]="@supports (".concat(s[4],") {").concat(s[1],"}"),s[4]=i):s[4]="".concat(i)),t.push(s))}},t}},601(a){a.exports=function(a){return a[1]}},691(a){var t=[];function r(a){for(var r=-1,e=0;e<t.length;e++)if(t[e].identifier===a){r=e;break}return r}function e(a,e){for(var i={},o=[],n=0;n<a.length;n++){var l=a[n],p=e.base?l[0]+e.base:l[0],d=i[p]||0,s="".concat(p," ").concat(d);i[p]=d+1;var c=r(s),u={css:l[1],media:l[2],sourceMap:l[3],supports:l[4],layer:l[5]};if(-1!==c)t[c].references++,t[c].updater(u);else{var f=function(a,t){var r=t.domAPI(t);return r.update(a),function(t){t?(t.css!==a.css||t.media!==a.media||t.sourceMap!==a.sourceMap||t.supports!==a.supports||t.layer!==a.layer)&&r.update(a=t):r.remove()}}(u,e);e.byIndex=n,t.splice(n,0,{identifier:s,updater:f,references:1})}o.push(s)}return o}a.exports=function(a,i){var o=e(a=a||[],i=i||{});return function(a){a=a||[];for(var n=0;n<o.length;n++){var l=r(o[n]);t[l].references--}for(var p=e(a,i),d=0;d<o.length;d++){var s=r(o[d]);0===t[s].references&&(t[s].updater(),t.splice(s,1))}o=p}}},659(a){var t={};a.exports=function(a,r){var e=function(a){if(void 0===t[a]){var r=document.querySelector(a);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(a){r=null}t[a]=r}return t[a]}(a);if(!e)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");e.appendChild(r)}},540(a){a.exports=function(a){var t=document.createElement("style");return a.setAttributes(t,a.attributes),a.insert(t,a.options),t}},56(a,t,r){a.exports=function(a){var t=r.nc;t&&a.setAttribute("nonce",t)}},825(a){a.exports=function(a){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=a.insertStyleElement(a);return{update:function(r){var e,i,o;e="",r.supports&&(e+="@supports (".concat(r.supports,") {")),r.media&&(e+="@media ".concat(r.media," {")),(i=void 0!==r.layer)&&(e+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),e+=r.css,i&&(e+="}"),r.media&&(e+="}"),r.supports&&(e+="}"),(o=r.sourceMap)&&"u">typeof btoa&&(e+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),a.styleTagTransform(e,t,a.options)},remove:function(){var a;null===(a=t).parentNode||a.parentNode.removeChild(a)}}}},113(a){a.exports=function(a,t){if(t.styleSheet)t.styleSheet.cssText=a;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(a))}}},579(a,t,r){var e=r(691),i=r.n(e),o=r(825),n=r.n(o),l=r(659),p=r.n(l),d=r(56),s=r.n(d),c=r(540),u=r.n(c),f=r(113),b=r.n(f),m=r(475),v={};v.styleTagTransform=b(),v.setAttributes=s(),v.insert=p().bind(null,"head"),v.domAPI=n(),v.insertStyleElement=u(),i()(m.A,v),m.A&&m.A.locals&&m.A.locals}}]);