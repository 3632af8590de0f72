/**
 * Verify: reads every byte of a data directory that no broker uses, and says what is not as it was written. Invariants: it writes nothing
 * there, and it goes on after each finding, so that one run names all of them. Sound data gives no damage, also after a crash: what
 * recovery would cut or make again is a note.
 * It reads segments, and the cache, as jobs that other processes may do (VerifyWorkers).
 * Neighbours: verify-log.ts looks at one log, verify-segment.ts at one file of it, verify-cache.ts at the cache; the command line calls it.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { readBrokerFacts } from './data-directory.ts'
import { DirectoryLock } from './directory-lock.ts'
import { formatUuid } from '../protocol/uuid.ts'
import { tieredRanges } from './tier/tier-copies.ts'
import { deletedSuffix, readTopicFile, topicIdBytes } from './topic.ts'
import { Findings, type Progress, type VerifyResult } from './verify-findings.ts'
import { type FoundLog, verifyLog } from './verify-log.ts'
import { baseOffsetOfFile } from './segment-format.ts'
import { cacheFile, type CacheJob, type CacheVerdict, type LogDigest, verifyCache } from './verify-cache.ts'
import { type SegmentJob, type SegmentVerdict, verifySegment } from './verify-segment.ts'

export interface VerifyOptions {
  /** The data directory. */
  readonly directory: string
  readonly fileSystem: FileSystem
  readonly clock: Clock
  /**
   * An empty directory that the caller removes afterwards. The cache is copied into it and opened there, because opening it changes it;
   * without it the cache is not looked at.
   */
  readonly scratchDirectory?: string
  /** Who does the jobs; undefined = this process, one after the other. */
  readonly workers?: VerifyWorkers
  /** Called after each segment. */
  readonly onProgress?: (progress: Progress) => void
  /** Called while segments are read: bytes so far, and all there are. */
  readonly onBytes?: (bytesRead: number, bytesTotal: number) => void
}

/** Does the jobs of a verification, which do not depend on each other. */
export interface VerifyWorkers {
  /** Segments at once. */
  readonly width: number
  segment(job: SegmentJob, onBytes: (bytes: number) => void): Promise<SegmentVerdict>
  cache(job: CacheJob): Promise<CacheVerdict>
}

/** Logs looked at at once, for each segment at once: so that one log's end does not leave workers without work. */
const logsPerWorker = 2

/**
 * Throws `dataDirectoryInUse` while a broker runs on the directory, `unsupportedFormat` when a newer release wrote it, and `invalidArgument`
 * when it is not a data directory. All else is in the result.
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  return await new Verification(options).run()
}

class Verification {
  readonly #options: VerifyOptions
  readonly #findings = new Findings()
  readonly #logs: FoundLog[] = []
  readonly #progress = { partitions: 0, segments: 0, batches: 0, records: 0, bytes: 0 }
  #bytesRead = 0
  #bytesTotal = 0
  /** Jobs under way, and those that wait. */
  #busy = 0
  readonly #waiting: (() => void)[] = []

  constructor(options: VerifyOptions) {
    this.#options = options
  }

  async run(): Promise<VerifyResult> {
    const { directory, fileSystem } = this.#options
    await DirectoryLock.checkFree(fileSystem, directory)
    await verifyBrokerFile(fileSystem, directory, this.#findings)
    const topics = `${directory}/topics`
    const names = (await fileSystem.exists(topics)) ? await fileSystem.list(topics) : []
    for (const name of names) this.#logs.push(...(await logsOf(fileSystem, `${topics}/${name}`, name, this.#findings)))
    if (this.#options.onBytes !== undefined) for (const log of this.#logs) await this.#countBytes(log)
    const cache = this.#verifyCache(`${directory}/cache`)
    const found = await Promise.all([cache.then(({ result }) => [result]), this.#verifyLogs(cache)])
    for (const result of found.flat()) this.#findings.add(result)
    return this.#findings.result()
  }

  async #countBytes({ directory }: FoundLog): Promise<void> {
    const { fileSystem } = this.#options
    for (const name of await fileSystem.list(directory)) {
      if (baseOffsetOfFile(name) === undefined) continue
      const file = await fileSystem.open(`${directory}/${name}`, 'read')
      this.#bytesTotal += await file.sizeBytes()
      await file.close()
    }
  }

  async #verifyCache(directory: string): Promise<CacheVerdict> {
    const { fileSystem, scratchDirectory } = this.#options
    if (scratchDirectory === undefined) {
      const findings = new Findings()
      if (await fileSystem.exists(cacheFile(directory))) findings.note(`${directory}: not looked at`)
      return { result: findings.result(), logs: [] }
    }
    return await this.#runCache({ directory, scratchDirectory, logs: this.#logs, wanted: 'sum' })
  }

  /** What the cache has of each stream of a log: looked at once more, for something was found to differ. */
  async #digestOf(place: number): Promise<LogDigest | undefined> {
    const { directory, scratchDirectory } = this.#options
    const job = {
      directory: `${directory}/cache`,
      scratchDirectory: `${scratchDirectory}/digest-${place}`,
      logs: this.#logs.slice(place, place + 1),
      wanted: 'digest' as const,
    }
    return (await this.#runCache(job)).logs[0]
  }

  async #runCache(job: CacheJob): Promise<CacheVerdict> {
    const { fileSystem, workers } = this.#options
    return await (workers?.cache(job) ?? verifyCache(job, { fileSystem, onAlive: () => {} }))
  }

  /** Several logs at once; what they find stays in their order. */
  async #verifyLogs(cache: Promise<CacheVerdict>): Promise<VerifyResult[]> {
    const results: VerifyResult[] = []
    const left = this.#logs.entries()
    const takeLogs = async () => {
      for (const [place, log] of left) results[place] = await this.#verifyLog(place, log, cache)
    }
    const width = this.#options.workers?.width ?? 1
    await Promise.all(Array.from({ length: width === 1 ? 1 : width * logsPerWorker }, takeLogs))
    return results
  }

  async #verifyLog(place: number, log: FoundLog, cache: Promise<CacheVerdict>): Promise<VerifyResult> {
    const { directory, fileSystem, clock, scratchDirectory } = this.#options
    this.#progress.partitions++
    const topicId = formatUuid(Buffer.from(log.topicId, 'hex'))
    const tiered = await tieredRanges(fileSystem, directory, topicId, log.partition)
    const findings = await verifyLog({
      fileSystem,
      clock,
      log,
      cacheDirectory: `${directory}/cache`,
      tiered,
      cached: cache.then(({ logs }) => logs[place]),
      digest: () => this.#digestOf(place),
      scratchPath: scratchDirectory && `${scratchDirectory}/postings-${place}`,
      verifySegment: (job) => this.#verifySegment(job),
      onSegment: (found) => this.#showSegment(found),
    })
    return findings.result()
  }

  async #verifySegment(job: SegmentJob): Promise<SegmentVerdict> {
    const { fileSystem, clock, workers, onBytes } = this.#options
    const show = (bytes: number) => {
      this.#bytesRead += bytes
      onBytes?.(this.#bytesRead, this.#bytesTotal)
    }
    if (this.#busy >= (workers?.width ?? 1)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#busy++
    try {
      return await (workers?.segment(job, show) ?? verifySegment(job, { fileSystem, clock, onBytes: show }))
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#busy--
      else next()
    }
  }

  #showSegment({ segments, batches, records, bytes }: VerifyResult): void {
    const progress = this.#progress
    progress.segments += segments
    progress.batches += batches
    progress.records += records
    progress.bytes += bytes
    this.#options.onProgress?.({ ...progress })
  }
}

async function verifyBrokerFile(fileSystem: FileSystem, directory: string, findings: Findings): Promise<void> {
  try {
    if ((await readBrokerFacts(fileSystem, directory)) !== undefined) return
  } catch (error) {
    if (!isPlayheadError(error, 'damagedData')) throw error
    return findings.damaged(String(error.details['file']), 0, error.message)
  }
  throw new PlayheadError(
    'invalidArgument',
    `${directory}: found no broker.json, wanted a data directory; name one with --data`,
  )
}

/** The logs of a topic, by its directory. */
async function logsOf(
  fileSystem: FileSystem,
  directory: string,
  name: string,
  findings: Findings,
): Promise<FoundLog[]> {
  if (name.endsWith(deletedSuffix)) {
    findings.note(`${directory}: a deleted topic; the next start removes it`)
    return []
  }
  let partitions = Number.POSITIVE_INFINITY
  let topic = name
  try {
    const facts = await readTopicFile(fileSystem, directory)
    if (facts === undefined) {
      await verifyWithoutFile(fileSystem, directory, findings)
      return []
    }
    partitions = facts.partitions
    topic = facts.name
  } catch (error) {
    if (!(error instanceof PlayheadError) || error.code === 'unsupportedFormat') throw error
    findings.damaged(`${directory}/topic.json`, 0, error.message) // its logs may be sound all the same
  }
  const topicId = topicIdOf(name)
  if (topicId === undefined) {
    findings.damaged(directory, 0, `found a directory of this name, wanted a topic id`)
    return []
  }
  const logs: FoundLog[] = []
  for (const entry of await fileSystem.list(directory)) {
    const path = `${directory}/${entry}`
    if (entry === 'topic.json') continue
    if (!/^(0|[1-9]\d{0,5})$/.test(entry)) {
      findings.note(`${path}: ${strangerOf(entry)}`)
      continue
    }
    const partition = Number(entry)
    if (partition >= partitions)
      findings.damaged(path, 0, `found partition ${partition} of ${topic}, wanted less than ${partitions}`)
    logs.push({ directory: path, name: `${topic}/${partition}`, topicId: topicId.toString('hex'), partition })
  }
  return logs
}

/** A topic exists while its file does; a directory without one was being made, or has lost it. */
async function verifyWithoutFile(fileSystem: FileSystem, directory: string, findings: Findings): Promise<void> {
  const entries = (await fileSystem.list(directory)).filter((entry) => /^\d+$/.test(entry))
  if (entries.length > 0)
    findings.damaged(`${directory}/topic.json`, 0, 'found no file beside partitions, wanted the file of this topic')
  else findings.note(`${directory}: a topic that was being made when the broker ended`)
}

function topicIdOf(name: string): Buffer | undefined {
  try {
    return topicIdBytes(name)
  } catch {
    return undefined
  }
}

/** Something beside the logs of a topic that is none of them. */
function strangerOf(entry: string): string {
  if (/^incoming-\d+$/.test(entry)) return 'files of its leader that gather here, to take the place of a log'
  if (/^replaced-\d+$/.test(entry)) return 'a log whose place others were to take: the next start of the broker decides'
  return 'not a file of Playhead'
}
