/**
 * `npm run bench:rivals -- kafka nats redis rabbitmq umadb`: each peer beside ours, then bench/results/<date>.json, docs/benchmarks.md and its
 * chart. A peer that fails does not stop the others; the run then exits with 1 and says at its end what to do. Neighbours: comparison.ts
 * measures, page.ts writes.
 */
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PlayheadError } from '../../protocol/errors.ts'
import { parseRivalsArguments, usage } from './arguments.ts'
import type { RivalsArguments } from './arguments.ts'
import { Comparison } from './comparison.ts'
import { kafka } from './kafka.ts'
import { machineOf, ourVersion, touchMemory } from './machine.ts'
import { nats } from './nats.ts'
import { tableOf } from './page.ts'
import type { Peer } from './peer.ts'
import { ourDurability, ourSettings } from './playhead.ts'
import { rabbitmq } from './rabbitmq.ts'
import { redis } from './redis.ts'
import { ResultFiles } from './result-files.ts'
import type { PeerResult, RunResult } from './result.ts'
import { killRunningServers } from './running-server.ts'
import { killRunningTools } from './tool.ts'
import { umadb } from './umadb.ts'

const root = join(import.meta.dirname, '..', '..')
const files = new ResultFiles(root)
const known: readonly Peer[] = [kafka, nats, redis, rabbitmq, umadb]

async function main(): Promise<number> {
  const wanted = parseRivalsArguments(
    process.argv.slice(2),
    known.map(({ name }) => name),
  )
  if (wanted.isPageOnly) {
    await files.writePage()
    console.log('written: docs/benchmarks.md')
    return 0
  }
  const result = await measureIn(wanted)
  for (const peer of result.peers) if (peer.lines.length > 0) console.log(`\n${peer.title}\n${tableOf(peer)}`)
  const isWorthKeeping =
    !result.isQuick && wanted.sides === 'both' && result.peers.some(({ lines }) => lines.length > 0)
  if (isWorthKeeping) {
    console.log(`\nwritten: ${await files.write(result)}, docs/benchmarks.md`)
    await files.writePage()
  } else console.log('\nno result written: this run was quick, without ours, or without a figure')
  for (const failure of result.failures) console.error(`\nerror: ${failure}`)
  console.log(`\n${Math.round(result.seconds)} s`)
  return result.failures.length === 0 ? 0 : 1
}

async function measureIn(wanted: RivalsArguments): Promise<RunResult> {
  const directory = await mkdtemp(join(tmpdir(), 'playhead-rivals-'))
  const interrupted = (): void => {
    killRunningTools()
    killRunningServers()
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
    process.exit(130)
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    return await measure(wanted, directory)
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function measure(wanted: RivalsArguments, directory: string): Promise<RunResult> {
  const startedAt = new Date()
  const peers: PeerResult[] = []
  const failures: string[] = []
  if (!wanted.scale.isQuick) console.log(`${Math.round((await touchMemory()) / 2 ** 30)} GB of memory touched`)
  for (const name of wanted.peers) {
    const peer = known.find((each) => each.name === name)!
    console.log(`\n== ${peer.title}`)
    const comparison = new Comparison(peer, {
      scale: wanted.scale,
      directory,
      kinds: wanted.withDurable ? ['default', 'durable'] : ['default'],
      sides: wanted.sides,
      onProgress: (line) => console.log(line),
    })
    try {
      const compared = await comparison.run()
      peers.push(compared.result)
      failures.push(...compared.failures)
    } catch (error) {
      if (!(error instanceof PlayheadError)) throw error
      failures.push(`${peer.name}: ${error.message}`)
      console.error(`FAILED ${peer.name}: ${error.message}`)
    }
  }
  return {
    startedAt: startedAt.toISOString(),
    seconds: (Date.now() - startedAt.getTime()) / 1000,
    rounds: wanted.scale.rounds,
    isQuick: wanted.scale.isQuick,
    ours: { version: await ourVersion(root), durability: ourDurability, settings: ourSettings },
    machine: await machineOf(directory),
    peers,
    failures,
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof PlayheadError)) throw error
  console.error(`error: ${error.message}${error.code === 'invalidArgument' ? `\n${usage}` : ''}`)
  process.exitCode = error.code === 'invalidArgument' ? 2 : 1
}
