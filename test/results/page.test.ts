import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { faultKinds } from '../sim/nemesis.ts'
import { pageWith, survivedText } from './page.ts'
import { readRuns } from './test-run.ts'
import type { TestRun } from './test-run.ts'

const root = join(import.meta.dirname, '..', '..')

function run(changes: Partial<TestRun> = {}): TestRun {
  return {
    command: 'test:sim',
    startedAt: '2026-11-21T14:00:00.000Z',
    seconds: 120,
    version: 'Playhead 1.2.3 at abc',
    seeds: { first: 7, count: 1000 },
    operations: 5000,
    simulatedHours: 2,
    findings: 0,
    faults: faultKinds.map((fault) => ({ fault, times: 10_000, operations: 0 })),
    ...changes,
  }
}

test('guarantees page: runs of one command add up, others stand by themselves', () => {
  const load = { fault: 'kill -9 under load', times: 10, operations: 800 }
  const crash = run({ command: 'test:crash', faults: [load] })
  const text = survivedText([run(), run({ startedAt: '2026-11-22T14:00:00.000Z', findings: 3 }), crash])
  assert.match(text, /\| power: [^|]+ \| test:sim \| 20,000 \| {2}\|/)
  assert.match(text, /\| kill -9 under load \| test:crash \| 10 \| 800 \|/)
  assert.match(text, /2,000 seeds, 10,000 operations of clients judged, 4 hours/)
  assert.match(
    text,
    /\| 2026-11-22 14:00 \| test:sim \| Playhead 1.2.3 at abc \| 2 min \| 1,000 from 7 \| 5,000 \| 3 \|/,
  )
})

test('guarantees page: a fault that never struck is no year of it', () => {
  assert.match(survivedText([run()]), /\*\*at least 1.14 of each\*\*/)
  const none = run({ faults: run().faults.filter(({ fault }) => fault !== 'flip') })
  assert.match(survivedText([none]), /\*\*only 0 of flip\*\*/)
  assert.doesNotMatch(survivedText([run({ command: 'test:power' })]), /year/)
})

test('guarantees page: every fault of the simulator has a place in a bad year and a meaning', () => {
  const text = survivedText([run()])
  for (const fault of faultKinds) {
    assert.match(text, new RegExp(`\\| ${fault} \\| [\\d,]+ \\| 10,000 \\|`), fault)
    assert.match(text, new RegExp(`\\| ${fault}: `), fault)
  }
})

test('guarantees page: without runs it says so; without its place it is refused', () => {
  assert.match(survivedText([]), /No run is recorded/)
  assert.throws(() => pageWith('# What Playhead promises', []), /found no place/)
})

test('docs/guarantees.md says what test/results/ gives (else: npm run guarantees)', () => {
  const page = readFileSync(join(root, 'docs', 'guarantees.md'), 'utf8')
  assert.equal(pageWith(page, readRuns()), page)
})
