/**
 * A worker of `playhead verify`: a process that does one job after the other and ends with the command that started it.
 * Neighbours: verify-workers.ts starts it and gives it jobs.
 */
import { systemClock } from '../platform/clock.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { type ErrorCode, type ErrorDetails, isPlayheadError } from '../protocol/errors.ts'
import { type CacheJob, type CacheVerdict, verifyCache } from '../storage/verify-cache.ts'
import { type SegmentJob, type SegmentVerdict, verifySegment } from '../storage/verify-segment.ts'

export type WorkerJob =
  | { readonly kind: 'segment'; readonly job: SegmentJob }
  | { readonly kind: 'cache'; readonly job: CacheJob }

export type WorkerMessage =
  | { readonly kind: 'alive'; readonly bytes: number }
  | { readonly kind: 'done'; readonly verdict: SegmentVerdict | CacheVerdict }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string; readonly details: ErrorDetails }
  | { readonly kind: 'failed'; readonly stack: string }

/** Signs of life are not sent more often. */
const aliveMs = 100

async function run(work: WorkerJob): Promise<WorkerMessage> {
  let [bytes, toldMs] = [0, performance.now()]
  const tell = (more: number) => {
    bytes += more
    const nowMs = performance.now()
    if (nowMs - toldMs < aliveMs) return
    send({ kind: 'alive', bytes })
    bytes = 0
    toldMs = nowMs
  }
  const seams = { fileSystem: nodeFileSystem, clock: systemClock, onBytes: tell, onAlive: () => tell(0) }
  try {
    const verdict = work.kind === 'segment' ? await verifySegment(work.job, seams) : await verifyCache(work.job, seams)
    send({ kind: 'alive', bytes })
    return { kind: 'done', verdict }
  } catch (error) {
    if (isPlayheadError(error)) {
      const { code, message, details } = error
      return { kind: 'refused', code, message, details }
    }
    return { kind: 'failed', stack: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

function send(message: WorkerMessage): void {
  process.send?.(message)
}

process.on('message', (work: WorkerJob) => void run(work).then(send))
process.on('disconnect', () => process.exit())
