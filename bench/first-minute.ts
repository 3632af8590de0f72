/**
 * `node --conditions=playhead-source bench/first-minute.ts`: what somebody does who has never seen Playhead, timed: clone, `npm start`, open the console, load the demo, look at
 * customer 14911 as of 2011-06-01T00:00:00Z. The clone is of what is committed here; what it installs comes from npm's cache or its registry. Prints one JSON line
 * and where the screenshot is; ends with 1 when the state is not that of 1,639 events. The goal is 60 s and 200 MB on a machine alone.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { openBrowser, openPage, screenshot } from '../test/console/browser.ts'

const root = join(import.meta.dirname, '..')
const customer = '14911'
const moment = '2011-06-01T00:00:00Z'
const eventsThen = 1_639
const loadMsMax = 300_000

const directory = await mkdtemp(join(tmpdir(), 'playhead-first-minute-'))
const clone = join(directory, 'playhead')
const marks: [phase: string, atMs: number][] = [['begin', performance.now()]]
const mark = (phase: string) => marks.push([phase, performance.now()])

await promisify(execFile)('git', ['clone', '--quiet', '--depth', '1', `file://${root}`, clone])
mark('clone')
const flags = ['--json', '--data', join(directory, 'data'), '--port', '0', '--http-port', '0']
// As in a shell of its own: nothing of ours on the path, and a group that ends as one.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|PLAYHEAD_)/.test(name)))
const path = (process.env['PATH'] ?? '').split(':').filter((folder) => !folder.includes('node_modules'))
const start = spawn('npm', ['start', '--silent', '--', ...flags], {
  cwd: clone,
  env: { ...environment, PATH: path.join(':') },
  stdio: ['ignore', 'pipe', 'inherit'],
  detached: true,
})
try {
  const { httpPort } = await ready()
  mark('npm start')
  const browser = await openBrowser()
  try {
    const { page } = await openPage(browser)
    const rssMb: number[] = []
    const events = await firstMinute(page, `http://127.0.0.1:${httpPort}/`, rssMb)
    console.log(
      JSON.stringify({
        bench: 'first-minute',
        events,
        seconds: seconds(marks.at(0)?.[1] ?? 0, marks.at(-1)?.[1] ?? 0),
        phases: Object.fromEntries(
          marks.slice(1).map(([phase, atMs], place) => [phase, seconds(marks[place]?.[1] ?? 0, atMs)]),
        ),
        brokerRssMbMax: Math.max(...rssMb),
        load: loadavg()[0],
        cores: cpus().length,
      }),
    )
    process.exitCode = events === eventsThen ? 0 : 1
  } finally {
    await browser.close()
  }
} finally {
  if (start.pid !== undefined && start.exitCode === null) {
    process.kill(-start.pid, 'SIGTERM')
    await once(start, 'exit')
  }
  await rm(directory, { recursive: true, force: true })
}

/** The broker's first line; what the installation prints comes before it. */
async function ready(): Promise<{ httpPort: number }> {
  for await (const line of createInterface({ input: start.stdout }))
    if (line.startsWith('{"event":"ready"')) return JSON.parse(line) as { httpPort: number }
  throw new Error('npm start: found its end, wanted a broker that is ready')
}

/** Answers how many events the state that is shown is made of. */
async function firstMinute(page: Page, address: string, rssMb: number[]): Promise<number> {
  const look = setInterval(
    () =>
      void rssOf(address).then(
        (mb) => rssMb.push(mb),
        () => undefined,
      ),
    500,
  )
  try {
    await page.goto(address)
    await page.getByRole('button', { name: 'Load the demo' }).click()
    mark('console')
    const link = page.locator('[data-demo-customer]')
    await link.waitFor({ timeout: loadMsMax })
    mark('demo loaded')
    await link.click()
    await page.locator('[data-asof][data-settled=yes]').waitFor()
    await page.keyboard.press('Home')
    await page.keyboard.press('Shift+G')
    await page.locator('input[name=goto]').fill(moment)
    await page.keyboard.press('Enter')
    await page.locator(`[data-asof][data-events="${eventsThen}"][data-settled=yes]`).waitFor()
    mark('customer in time')
    await screenshot(page, `first-minute-${customer}`)
    rssMb.push(await rssOf(address))
    return Number(await page.locator('[data-asof]').getAttribute('data-events'))
  } finally {
    clearInterval(look)
  }
}

async function rssOf(address: string): Promise<number> {
  const { rssBytes } = (await (await fetch(`${address}api/status`)).json()) as { rssBytes: number }
  return Math.round(rssBytes / 2 ** 20)
}

function seconds(fromMs: number, toMs: number): number {
  return Number(((toMs - fromMs) / 1_000).toFixed(1))
}
