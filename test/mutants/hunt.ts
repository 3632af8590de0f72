/** The hunt for one mutant: the harness runs in the mutated copy until something is found. Neighbours: run.ts hunts all, mutants.test.ts a few. */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { Mutant } from './mutants.ts'
import { MutatedCopy } from './mutated-copy.ts'

export interface Hunted {
  readonly name: string
  readonly killed: boolean
  /** Of the simulator. */
  readonly seed?: number
  readonly seeds?: number
  readonly seconds: number
  /** What was found, in short. */
  readonly found: string
}

export interface HuntOptions {
  readonly fromSeed: number
  readonly seedsMax: number
  /** At once; one for each core when absent. */
  readonly threads?: number
}

/** On a busy machine; by itself the longest takes a minute or two. */
const minutesMax = 30

/** Throws when the harness could not run at all. */
export function hunt({ name, edits, by }: Mutant, options: HuntOptions): Hunted {
  using copy = new MutatedCopy(edits)
  const startedMs = Date.now()
  const found =
    'test' in by
      ? byTest(copy, by.test, by.pattern)
      : 'clusterKinds' in by
        ? bySeeds(copy, ['--cluster', '--kinds', by.clusterKinds.join(',')], options)
        : bySeeds(copy, ['--kinds', by.kinds.join(',')], options)
  return { name, ...found, seconds: Math.round((Date.now() - startedMs) / 100) / 10 }
}

function bySeeds(
  { directory }: MutatedCopy,
  which: readonly string[],
  { fromSeed, seedsMax, threads = availableParallelism() }: HuntOptions,
) {
  const seeds = ['--from', String(fromSeed), '--seeds', String(seedsMax), '--until-wrong', '--threads', String(threads)]
  const { output } = node(directory, ['test/sim/run.ts', ...seeds, ...which])
  const [, count, wrong] = /^(\d+) seeds, (\d+) wrong/m.exec(output) ?? []
  if (count === undefined) throw new Error(`test/sim/run.ts: found no totals at its end:\n${output}`)
  const [, seed, found = ''] = /^seed (\d+): .*\n {2}(.*)$/m.exec(output) ?? []
  const killed = Number(wrong) > 0 && seed !== undefined
  return { killed, ...(killed && { seed: Number(seed) }), seeds: Number(count), found: found.slice(0, 150) }
}

function byTest({ directory }: MutatedCopy, test: string, pattern: string) {
  const flags = [
    '--conditions=playhead-source',
    '--test',
    '--test-reporter=tap',
    '--test-isolation=none',
    `--test-name-pattern=${pattern}`,
  ]
  const { output } = node(directory, [...flags, test])
  const [, count] = /^# fail (\d+)/m.exec(output) ?? []
  const [ran] = /^# Subtest: .*$/m.exec(output) ?? []
  if (count === undefined || ran === undefined) throw new Error(`${test}: found no test named ${pattern}:\n${output}`)
  return { killed: Number(count) > 0, found: `${test}: ${pattern}` }
}

function node(directory: string, args: readonly string[]): { output: string } {
  // A test that runs other tests must not tell them that they are parts of it.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const options = { cwd: directory, env, encoding: 'utf8', timeout: minutesMax * 60_000 } as const
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, options)
  if (status === null || status > 1) throw new Error(`${args.join(' ')}: ${signal ?? status}\n${stdout}\n${stderr}`)
  return { output: stdout }
}
