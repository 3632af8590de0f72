/**
 * `npm run test:flips`: every single bit of small segments and their sidecars and of the facts, and 2,000 seeded ones of the cache's file.
 *   --only log|fact|cache   one of these
 *   --flips N  of the cache's file (default 2000)
 *   --report   adds what came of it to test/results/, of which the table in docs/guarantees.md is made
 * Ends with 1 if one of them got through. Neighbours: the tests that it runs, which print how many flips they made.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { writeRun } from '../results/test-run.ts'
import type { FaultCount } from '../results/test-run.ts'

const { values } = parseArgs({
  options: { only: { type: 'string' }, flips: { type: 'string', default: '2000' }, report: { type: 'boolean' } },
})
const startedAt = new Date().toISOString()
const env = { ...process.env, PLAYHEAD_TEST_FLIPS: 'all', PLAYHEAD_TEST_RUNS: values.flips }
const faults: FaultCount[] = []
let findings = 0

const kinds = ['log', 'fact', 'cache']
if (values.only !== undefined && !kinds.includes(values.only))
  throw new Error(`--only: found ${values.only}, wanted one of ${kinds.join(', ')}`)
for (const kind of kinds) {
  if (values.only !== undefined && values.only !== kind) continue
  const name = `${kind}-flips`
  const flags = ['--conditions=playhead-source', '--test', '--test-reporter=tap', '--test-isolation=none']
  const file = join(import.meta.dirname, `${name}.test.ts`)
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, file], { env, encoding: 'utf8' })
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  const failed = /^# fail (\d+)/m.exec(stdout)?.[1]
  if (failed === undefined) throw new Error(`${name}: found no end of its tests`)
  findings += Number(failed)
  for (const [, title = '', rest = ''] of stdout.matchAll(
    /^ok \d+ - \w+ flips: (any one bit .*)\n([^]*?)(?=^# Subtest|^1\.\.)/gm,
  )) {
    const times = /(\d+) flips/.exec(rest)?.[1]
    if (times === undefined) throw new Error(`${name}: found no number of flips, wanted it among its diagnostics`)
    faults.push({ fault: `flip: ${title.replace(/ \(\d+ flips\)/, '')}`, times: Number(times), operations: 0 })
  }
}
console.log(JSON.stringify(faults))
if (values.report === true) await writeRun({ command: 'test:flips', startedAt, operations: 0, findings, faults })
process.exit(findings > 0 ? 1 : 0)
