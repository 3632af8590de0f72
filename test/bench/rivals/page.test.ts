import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pageOf, tableOf } from '../../../bench/rivals/page.ts'
import { ResultFiles } from '../../../bench/rivals/result-files.ts'
import { runResult } from './run-result.ts'

const root = join(import.meta.dirname, '..', '..', '..')

test('page: a table of medians, half ranges and ratios, with the durable pairing named', () => {
  assert.equal(
    tableOf(runResult().peers[0]!),
    `| work | Peer with | Playhead | Peer | ratio |
| --- | --- | --- | --- | --- |
| write 100 B | tool <a> & "b" | 2.50 M/s (250 MB/s) ±20 % | 500 k/s (50.0 MB/s) ±2 % | 5.00x |
| write 100 B | tool <a> & "b", durable | 2.00 M/s (200 MB/s) ±0 % | 1.00 k/s (0.10 MB/s) ±0 % | 2,000x |
| end to end at 5,000 records/s, 100 B, p99 | follower | 2.00 ms ±0 % | 6.00 ms ±17 % | 3.00x |`,
  )
})

test('page: method, versions, settings, durability of both sides and the machine are on it', () => {
  const { markdown } = pageOf([runResult()])
  for (const text of ['## Method', 'Playhead 1.2.3', 'Peer 9', 'ours as it is', 'theirs as it is', 'from memory']) {
    assert.ok(markdown.includes(text), text)
  }
  for (const text of ['sync=1', 'a processor, 2 cores, 8 GB; Linux 6, ext4; Node v26']) {
    assert.ok(markdown.includes(text), text)
  }
})

test('page: of each peer the newest full run is shown; quick runs and runs without a line are not', () => {
  const named = (version: string) => ({ ours: { version, durability: '', settings: [] } })
  const { markdown } = pageOf([
    runResult(2, named('the newest')),
    runResult(1, named('an older one')),
    runResult(3, { ...named('a quick one'), isQuick: true }),
    runResult(4, { ...named('an empty one'), peers: [{ ...runResult().peers[0]!, lines: [] }] }),
  ])
  assert.match(markdown, /the newest/)
  assert.doesNotMatch(markdown, /an older one|a quick one|an empty one/)
})

test('page: without results there is no figure and no chart', () => {
  const { markdown, svg } = pageOf([])
  assert.equal(svg, undefined)
  assert.doesNotMatch(markdown, /benchmarks\.svg|M\/s|\d ms/)
})

test('chart: a pair of bars per throughput line, to scale, text escaped, no latency', () => {
  const { svg = '' } = pageOf([runResult()])
  assert.equal(svg.match(/<rect class="ours"/g)?.length, 3) // the legend, and two lines
  assert.deepEqual(
    [...svg.matchAll(/width="(\d+)" height="13"/g)].map(([, length]) => Number(length)),
    [380, 76, 380, 1],
  )
  assert.match(svg, /tool &lt;a> &amp; &quot;b&quot;/)
  assert.doesNotMatch(svg, /follower/)
  assert.match(svg, /prefers-color-scheme: dark/)
})

test('docs/benchmarks.md and its chart are what bench/results/ gives (else: npm run bench:rivals -- --page)', async () => {
  const { markdown, svg } = pageOf(await new ResultFiles(root).read())
  assert.equal(readFileSync(join(root, 'docs', 'benchmarks.md'), 'utf8'), markdown)
  const chart = join(root, 'docs', 'benchmarks.svg')
  assert.equal(existsSync(chart) ? readFileSync(chart, 'utf8') : undefined, svg)
})
