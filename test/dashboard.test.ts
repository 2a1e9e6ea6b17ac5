// The dashboard in a real browser, served by a real coordinator with real workers.
// Refuses to check numbers that other tests check: here it matters that people see them and that the buttons work.
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../apps/coordinator/src/config.js';
import { chromiumArgs, findChromium } from './support/chromium.js';
import { startSystem, type TestSystem } from './support/system.js';

const token = 'dashboard-test-token';
const tiny = {
  model: { architecture: 'resnet8', classes: 10, imageSize: 32 },
  dataset: { kind: 'synthetic', classes: 10, imageSize: 32, size: 256 },
  training: { epochs: 2, batchSize: 32, shardSize: 16 },
};
const endless = { ...tiny, training: { ...tiny.training, epochs: 10_000 }, evaluation: { everyEpochs: 0 } };

let system: TestSystem;
let browser: Browser;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  system = await startSystem({ workers: 1, token, environment: { LOCKSTEP_API_TOKENS: `admin:${token}` } });
  const executablePath = await findChromium(loadConfig(process.env).cacheDir);
  browser = await chromium.launch({ executablePath, args: chromiumArgs });
}, 180_000);

afterAll(async () => {
  await browser?.close();
}, 60_000);

afterEach(async () => {
  await page.context().close();
});

/** A page with the token given, unless told otherwise; what it complains about is collected. */
async function open(path: string, options: { width?: number; token?: string | null } = {}): Promise<void> {
  const context = await browser.newContext({ viewport: { width: options.width ?? 1280, height: 860 } });
  page = await context.newPage();
  page.setDefaultTimeout(30_000);
  complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  const given = options.token === undefined ? token : options.token;
  if (given !== null) {
    await page.addInitScript({ content: `sessionStorage.setItem('lockstep-token', ${JSON.stringify(given)})` });
  }
  await page.goto(system.url + path);
}

const jobState = () => page.getByTestId('job-detail').getByTestId('job-state');
const pageWidth = () => page.evaluate<number>('document.documentElement.scrollWidth');
/** Different colours of a canvas, what is transparent aside. */
const coloursOf = (selector: string) =>
  page.evaluate<number>(`(() => {
    const element = document.querySelector(${JSON.stringify(selector)});
    const pixels = new Uint32Array(element.getContext('2d').getImageData(0, 0, element.width, element.height).data.buffer);
    return new Set(pixels.filter((pixel) => pixel >>> 24 === 255)).size;
  })()`);
const textOf = (testId: string) => page.getByTestId(testId).innerText();

describe('dashboard', () => {
  it('says what to do where there is nothing', async () => {
    await open('/');
    await page.getByTestId('no-jobs').waitFor();
    expect(await textOf('no-jobs')).toContain('npx lockstep submit --preset resnet20-cifar10-demo');
    await page.getByTestId('worker-row').waitFor();
    expect(complaints).toEqual([]);
  });

  it('asks for a token, says when it is wrong, and keeps the right one for the tab', async () => {
    await open('/', { token: null });
    await page.getByTestId('token-field').fill('wrong');
    await page.getByTestId('token-submit').click();
    await page.getByTestId('token-problem').filter({ hasText: 'not accepted' }).waitFor();
    await page.getByTestId('token-field').fill(token);
    await page.getByTestId('token-submit').click();
    await page.getByTestId('worker-row').waitFor();
    await page.reload();
    await page.getByTestId('worker-row').waitFor();
    expect(await page.getByTestId('token-prompt').isVisible()).toBe(false);
  });

  it('follows a job live to its end, without a reload, and shows names as text', async () => {
    await open('/');
    await page.getByTestId('no-jobs').waitFor();
    const id = await system.api.submit({ ...tiny, name: '<img src=x onerror=alert(1)>' });
    await page.getByTestId('charts').waitFor();
    expect(await textOf('job-title')).toBe('<img src=x onerror=alert(1)>');
    await jobState().filter({ hasText: 'completed' }).waitFor();
    expect(await textOf('job-step')).toBe('16');
    expect(await textOf('job-test-top1')).toMatch(/^\d+\.\d %$/);
    expect(await textOf('job-state-sha256')).toMatch(/^[0-9a-f]{64}$/);
    expect(await textOf('job-checkpoint')).toContain('step-00000016');
    await expect.poll(() => page.getByTestId('chart-loss').getAttribute('data-points')).toBe('16');
    for (const chart of ['accuracy', 'learning-rate', 'gradient-norm', 'throughput', 'step-time']) {
      expect(await page.getByTestId(`chart-${chart}`).locator('canvas').count()).toBe(1);
      expect(await page.getByTestId(`chart-${chart}`).locator('.chart-axis').innerText()).toBe('step');
    }
    const words = page.getByTestId('job-numerics-class');
    expect(await words.locator('wbr').count()).toBeGreaterThan(1);
    expect(await words.innerText()).toBe((await system.api.job(id)).numericsClass);
    const wraps = await page.evaluate<string>(
      "getComputedStyle(document.querySelector('[data-testid=worker-row] td[data-label=Memory]')).whiteSpace",
    );
    expect(wraps).toBe('nowrap');
    expect(await page.getByTestId('job-cancel').isDisabled()).toBe(true);
    expect(await page.locator(`[data-testid=job-card][data-job-id="${id}"]`).count()).toBe(1);
    expect(complaints).toEqual([]);
  });

  it('draws what the layers do, depth by step, as a job goes on', async () => {
    const id = await system.api.submit({ ...endless, name: 'layers' });
    await open(`/#/jobs/${id}`);
    const heat = page.getByTestId('heat-map');
    const columns = async () => Number(await heat.getAttribute('data-columns'));
    await heat.waitFor();
    // The stem, two convolutions in each of three blocks, the dense layer.
    expect(await heat.getAttribute('data-layers')).toBe('8');
    const seen = await columns();
    await expect.poll(columns).toBeGreaterThan(seen);
    await system.api.act(id, 'pause');
    await jobState().filter({ hasText: 'paused' }).waitFor();
    for (const kind of ['gradient', 'update']) {
      await page.getByTestId(`heat-${kind}`).click();
      expect(await page.getByTestId(`heat-${kind}`).getAttribute('aria-pressed')).toBe('true');
      const picture = heat.locator('canvas');
      expect(await picture.getAttribute('aria-label')).toMatch(
        /of 8 layers over steps 1 to [\d,]+\. Newest: conv1 [\d.e-]+, (fc|linear) [\d.e-]+\.$/,
      );
      expect(await coloursOf('[data-testid=heat-map] canvas')).toBeGreaterThan(8);
      await picture.hover({ position: { x: 3, y: 3 } });
      expect(await textOf('heat-reading')).toMatch(/^conv1, step 1: [\d.e-]+$/);
    }
    await system.api.act(id, 'cancel');
    expect(complaints).toEqual([]);
  });

  it('cancels a job after asking', async () => {
    const id = await system.api.submit({ ...endless, name: 'endless' });
    await open(`/#/jobs/${id}`);
    await jobState().filter({ hasText: 'running' }).waitFor();
    await page.getByTestId('job-cancel').click();
    await page.getByTestId('cancel-keep').click();
    expect(await jobState().innerText()).toBe('running');
    await page.getByTestId('job-cancel').click();
    await page.getByTestId('cancel-confirm').click();
    await jobState().filter({ hasText: 'cancelled' }).waitFor();
    expect(complaints).toEqual([]);
  });

  it('fits a phone, and goes from the list to a job and back', async () => {
    await open('/', { width: 390 });
    await page.getByTestId('job-card').first().click();
    await page.getByTestId('job-title').waitFor();
    expect(await page.getByTestId('job-list').isVisible()).toBe(false);
    expect(await pageWidth()).toBeLessThanOrEqual(390);
    await page.goBack();
    await page.getByTestId('job-list').waitFor();
    expect(await pageWidth()).toBeLessThanOrEqual(390);
  });

  it('says that a job is not there', async () => {
    await open('/#/jobs/nothing');
    await page.getByTestId('unknown-job').waitFor();
    expect(await textOf('unknown-job')).toContain('nothing');
  });

  // The last one: it ends the coordinator.
  it('says when the coordinator is gone', async () => {
    await open('/');
    await page.getByTestId('job-detail').waitFor();
    await system.coordinator.terminate();
    await page.getByTestId('disconnected-banner').waitFor();
    expect(await page.getByTestId('stream-status').getAttribute('data-status')).toBe('disconnected');
    expect(await page.getByTestId('job-detail').isVisible()).toBe(true);
  });
});
