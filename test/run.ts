/**
 * `npm test`: every layer in order, each with its time; the first failing layer ends the run with its exit code.
 * PLAYHEAD_TEST=core leaves out what needs services from outside (a package registry, etcd, S3 servers) and says so.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

interface Layer {
  readonly name: string
  readonly budgetMinutes: number
  readonly command: readonly string[]
}

/** A layer that takes so many times its budget hangs: it is ended, with what it has printed. */
const hangFactor = 4
/** No single test takes as long; one that hangs is named and ended. */
const testMsMax = 15 * 60_000

const root = join(import.meta.dirname, '..')
const core = process.env['PLAYHEAD_TEST'] === 'core'
/** Tests that reach services outside this repository. */
const services = [
  'test/e2e/package.test.ts',
  'test/replication/metadata-etcd.test.ts',
  ...testFiles('test/services'),
  ...testFiles('test/nemesis'),
  'test/replication/cluster-etcd.test.ts',
]
/** Folders of tests with a layer of their own. */
const ownLayer = ['console', 'crash', 'e2e', 'golden', 'hostile', 'mutants', 'nemesis', 'services', 'sim']

function testFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(folder, name))
    .toSorted()
}

function nodeTest(files: readonly string[], concurrency: number): string[] {
  const flags = ['--conditions=playhead-source', '--test', '--test-reporter=spec', `--test-concurrency=${concurrency}`]
  flags.push(`--test-timeout=${testMsMax}`)
  flags.push('--test-force-exit') // what a failed test left open would keep the run waiting
  return [process.execPath, ...flags, ...files]
}

const unit = testFiles('test').filter(
  (file) => !ownLayer.includes(file.split('/')[1] ?? '') && !services.includes(file),
)
const e2e = testFiles('test/e2e').filter((file) => !services.includes(file))
/** In the system's Chromium: it fails, naming the command, where there is none. */
const consoleTests = testFiles('test/console')
const layers: Layer[] = [
  { name: 'check', budgetMinutes: 1, command: ['npm', 'run', '--silent', 'check'] },
  { name: 'unit', budgetMinutes: 5, command: nodeTest(unit, 2) },
  {
    name: 'simulation',
    budgetMinutes: 5,
    command: nodeTest([...testFiles('test/sim'), ...testFiles('test/mutants')], 1),
  },
  { name: 'hostile clients', budgetMinutes: 2, command: nodeTest(testFiles('test/hostile'), 3) },
  { name: 'crash', budgetMinutes: 2, command: nodeTest(testFiles('test/crash'), 1) },
  { name: 'end to end', budgetMinutes: 8, command: nodeTest(e2e, 1) },
]
if (!core) layers.push({ name: 'console', budgetMinutes: 2, command: nodeTest(consoleTests, 1) })
if (!core) layers.push({ name: 'services', budgetMinutes: 8, command: nodeTest(services, 1) })

const wanted = process.argv.slice(2)
const times: string[] = []
for (const layer of layers) {
  if (wanted.length > 0 && !wanted.includes(layer.name)) continue
  console.log(`\n=== ${layer.name} (budget ${layer.budgetMinutes} min) ===`)
  const startedMs = Date.now()
  const [command = '', ...args] = layer.command
  const timeout = layer.budgetMinutes * hangFactor * 60_000
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit', timeout })
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1)
  times.push(`${layer.name} ${seconds} s`)
  if (status !== 0) {
    console.error(`\nlayer "${layer.name}" failed after ${seconds} s (${signal ?? `exit code ${status}`})`)
    process.exit(status ?? 1)
  }
}
console.log(`\nall layers passed: ${times.join(', ')}`)
if (core) console.log(`left out (PLAYHEAD_TEST=core): ${[...consoleTests, ...services].join(', ')}`)
