/**
 * VerifyWorkers as processes: segments are read by as many as there are processors, and the cache by one of its own, because opening a damaged
 * LMDB file can end a process or keep it for ever. Invariant: when this is disposed they have been told to end, and they end with us anyhow.
 * Called by verify.ts; verify-worker.ts is what runs in them.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { extname, join } from 'node:path'
import { PlayheadError } from '../protocol/errors.ts'
import { cacheFile, type CacheJob, type CacheVerdict, wipeCache } from '../storage/verify-cache.ts'
import { Findings } from '../storage/verify-findings.ts'
import type { SegmentJob, SegmentVerdict } from '../storage/verify-segment.ts'
import type { VerifyWorkers } from '../storage/verify.ts'
import type { WorkerJob, WorkerMessage } from './verify-worker.ts'

/** More would wait for the disk, and each takes memory for a segment's streams. */
const workersMax = 8
/** A worker that gives no sign of life for so long will never end. */
const silentMsMax = 60_000

/** The worker ended by itself, or had to be ended. */
class WorkerLost extends Error {}

export class WorkerProcesses implements VerifyWorkers {
  readonly width = Math.min(workersMax, availableParallelism())
  readonly #silentMsMax: number
  readonly #idle: ChildProcess[] = []
  readonly #all = new Set<ChildProcess>()

  constructor(options: { readonly silentMsMax?: number } = {}) {
    this.#silentMsMax = options.silentMsMax ?? silentMsMax
  }

  async segment(job: SegmentJob, onBytes: (bytes: number) => void): Promise<SegmentVerdict> {
    return (await this.#run({ kind: 'segment', job }, onBytes)) as SegmentVerdict
  }

  async cache(job: CacheJob): Promise<CacheVerdict> {
    try {
      return (await this.#run({ kind: 'cache', job }, () => {})) as CacheVerdict
    } catch (error) {
      if (!(error instanceof WorkerLost)) throw error
      const findings = new Findings()
      findings.damaged(cacheFile(job.directory), 0, `found a data file with which LMDB ${error.message}; ${wipeCache}`)
      return { result: findings.result(), logs: [] }
    }
  }

  [Symbol.dispose](): void {
    for (const worker of this.#all) worker.kill('SIGKILL')
  }

  async #run(work: WorkerJob, onBytes: (bytes: number) => void): Promise<SegmentVerdict | CacheVerdict> {
    const worker = this.#idle.pop() ?? this.#start()
    const message = await answerOf(worker, work, onBytes, this.#silentMsMax)
    if (message.kind === 'failed') throw new Error(`a worker of verify failed: ${message.stack}`)
    this.#idle.push(worker)
    if (message.kind === 'refused') throw new PlayheadError(message.code, message.message, message.details)
    return message.verdict
  }

  #start(): ChildProcess {
    const worker = fork(join(import.meta.dirname, `verify-worker${extname(import.meta.filename)}`), {
      // What LMDB says before it ends its process is not for the user, who is told by a finding.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    this.#all.add(worker)
    worker.once('exit', () => this.#all.delete(worker))
    return worker
  }
}

/** Gives the job and waits for the last message about it. */
function answerOf(
  worker: ChildProcess,
  work: WorkerJob,
  onBytes: (bytes: number) => void,
  silentMs: number,
): Promise<Exclude<WorkerMessage, { kind: 'alive' }>> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(silence)
      worker.off('message', onMessage)
      worker.off('exit', onExit)
      worker.off('error', onError)
    }
    const onMessage = (message: WorkerMessage) => {
      silence.refresh()
      if (message.kind === 'alive') return onBytes(message.bytes)
      leave()
      resolve(message)
    }
    const onExit = (code: number | null, signal: string | null) => {
      leave()
      reject(new WorkerLost(`ended its process (${signal ?? `exit code ${code}`})`))
    }
    const onError = (error: Error) => {
      leave()
      reject(error)
    }
    const silence = setTimeout(() => {
      leave()
      worker.kill('SIGKILL')
      reject(new WorkerLost(`does not come to an end (no sign of life for ${silentMs / 1000} s)`))
    }, silentMs)
    worker.on('message', onMessage)
    worker.on('exit', onExit)
    worker.on('error', onError)
    worker.send(work)
  })
}
