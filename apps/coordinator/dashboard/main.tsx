// Starts the dashboard in the page.
import './state/valid-language.js';
import { render } from 'preact';
import { goLive } from './state/live.js';
import './style/base.css';
import './style/layout.css';
import './style/job.css';
import './style/workers.css';
import 'uplot/dist/uPlot.min.css';
import './style/charts.css';
import { App } from './views/app.js';

const host = document.getElementById('app');
if (host === null) {
  throw new Error('The page has no element with the id "app"');
}
render(<App />, host);
goLive();
