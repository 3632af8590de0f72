/** Watching a cluster until a change has come about, with a line on stderr whenever there is something new to say. */
import type { ClusterStatus, Playhead } from '../client/index.ts'
import { sleep, systemClock } from '../platform/clock.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { Session } from './session.ts'

const lookMs = 500
/** Between two lines, however much changes. */
const sayMs = 2_000

export interface Watched {
  readonly topic?: string
  /** What is still to come, in words; undefined = it has come about. Throws what ends the watching otherwise. */
  readonly remains: (status: ClusterStatus) => string | undefined
}

/** Resolves with how the cluster stands when nothing remains. A broker that is away for a while is waited for. */
export async function watchCluster(
  session: Session,
  playhead: Playhead,
  { topic, remains }: Watched,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  let said = ''
  let saidAtMs = Number.NEGATIVE_INFINITY
  for (;;) {
    const status = await playhead.cluster.status({ ...(topic !== undefined && { topic }), signal }).catch(unanswered)
    const remaining = status === undefined ? 'no broker answers' : remains(status)
    if (status !== undefined && remaining === undefined) return status
    const nowMs = systemClock.monotonicMs()
    if (remaining !== undefined && remaining !== said && nowMs - saidAtMs >= sayMs) {
      session.note(remaining)
      said = remaining
      saidAtMs = nowMs
    }
    await sleep(systemClock, lookMs, signal)
  }
}

function unanswered(error: unknown): undefined {
  if (!isPlayheadError(error) || !error.retriable) throw error
  return undefined
}
