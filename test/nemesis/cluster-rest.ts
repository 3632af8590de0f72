/**
 * ClusterRest: whether a cluster has come to rest by itself, as its operators see it: every broker there and answering, every partition led, on all brokers,
 * all replicas in sync and as long as each other, and `playhead cluster status` content with it. Neighbours: nemesis-run.ts waits for it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../client/index.ts'
import type { ClusterStatus } from '../../client/index.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { brokers } from './fleet.ts'
import type { Fleet } from './fleet.ts'

const pollMs = 300
const timeoutMs = 10_000
/** Why it is not at rest yet is noted so often. */
const noteMs = 5_000

/** Resolves with undefined once it is; with what is wrong when it is not in `msMax`. */
export async function comeToRest(
  fleet: Fleet,
  msMax: number,
  note: (line: string) => void,
): Promise<string | undefined> {
  const until = performance.now() + msMax
  for (let notedMs = performance.now(); ; ) {
    const wrong = await whyNotAtRest(fleet)
    if (wrong === undefined) return undefined
    if (performance.now() > notedMs + noteMs) {
      notedMs = performance.now()
      note(`not at rest: ${wrong}`)
    }
    if (performance.now() > until) return `not at rest ${msMax / 1000} s after everything healed: ${wrong}`
    await sleep(pollMs)
  }
}

async function whyNotAtRest(fleet: Fleet): Promise<string | undefined> {
  try {
    const playhead = await connect(fleet.addresses, { clientName: 'rest', timeoutMs })
    try {
      const wrong = whatIsWrong(await playhead.cluster.status())
      if (wrong !== undefined) return wrong
    } finally {
      await playhead.close()
    }
  } catch (error) {
    return String(error)
  }
  const { code, stdout, stderr } = await runPlayhead(['cluster', 'status', '--server', fleet.servers])
  return code === 0 ? undefined : `playhead cluster status ended with ${code}: ${stderr}${stdout}`
}

function whatIsWrong({ brokers: seen, partitions }: ClusterStatus): string | undefined {
  const answering = seen.filter(({ isThere, isReached }) => isThere && isReached)
  if (answering.length !== brokers.length) return `brokers: ${JSON.stringify(seen)}`
  for (const each of partitions) {
    const { leader, replicas, inSync, adding, removing, copies } = each
    const isWell =
      leader !== undefined &&
      replicas.length === brokers.length &&
      inSync.length === replicas.length &&
      adding.length + removing.length === 0
    const ends = new Set(copies.flatMap(({ logEndOffset, highWatermark }) => [logEndOffset, highWatermark]))
    if (!isWell || copies.length !== replicas.length || ends.size !== 1) return JSON.stringify(each)
  }
  return undefined
}
