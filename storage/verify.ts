/**
 * Verify: reads every byte of a data directory that no broker uses, and says what is not as it was written. Invariants: it writes nothing
 * there, and it goes on after each finding, so that one run names all of them. Sound data gives no damage, also after a crash: what
 * recovery would cut or make again is a note.
 * Neighbours: verify-log.ts reads one log, verify-sidecar.ts and verify-cache.ts what is derived from it; the command line calls it.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import { readBrokerFacts } from './data-directory.ts'
import { DirectoryLock } from './directory-lock.ts'
import { deletedSuffix, readTopicFile, topicIdBytes } from './topic.ts'
import { CacheCopy } from './verify-cache.ts'
import { Findings, type Progress, type VerifyResult } from './verify-findings.ts'
import { verifyLog } from './verify-log.ts'

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
  /** Called after each segment. */
  readonly onProgress?: (progress: Progress) => void
}

/**
 * Throws `dataDirectoryInUse` while a broker runs on the directory, `unsupportedFormat` when a newer release wrote it, and `invalidArgument`
 * when it is not a data directory. All else is in the result.
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  const { directory, fileSystem } = options
  await DirectoryLock.checkFree(fileSystem, directory)
  const findings = new Findings(options.onProgress)
  await verifyBrokerFile(fileSystem, directory, findings)
  const topics = `${directory}/topics`
  const cache = await CacheCopy.open(fileSystem, `${directory}/cache`, options.scratchDirectory, findings)
  try {
    const names = (await fileSystem.exists(topics)) ? await fileSystem.list(topics) : []
    for (const name of names) await verifyTopic(options, `${topics}/${name}`, name, cache, findings)
  } finally {
    await cache?.close()
  }
  return findings.result()
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

async function verifyTopic(
  options: VerifyOptions,
  directory: string,
  name: string,
  cache: CacheCopy | undefined,
  findings: Findings,
): Promise<void> {
  const { fileSystem, clock } = options
  if (name.endsWith(deletedSuffix)) return findings.note(`${directory}: a deleted topic; the next start removes it`)
  let partitions = Number.POSITIVE_INFINITY
  let topic = name
  try {
    const facts = await readTopicFile(fileSystem, directory)
    if (facts === undefined) return await verifyWithoutFile(fileSystem, directory, findings)
    partitions = facts.partitions
    topic = facts.name
  } catch (error) {
    if (!(error instanceof PlayheadError) || error.code === 'unsupportedFormat') throw error
    findings.damaged(`${directory}/topic.json`, 0, error.message) // its logs may be sound all the same
  }
  const topicId = topicIdOf(name)
  if (topicId === undefined) return findings.damaged(directory, 0, `found a directory of this name, wanted a topic id`)
  for (const entry of await fileSystem.list(directory)) {
    const path = `${directory}/${entry}`
    if (entry === 'topic.json') continue
    if (!/^(0|[1-9]\d{0,5})$/.test(entry)) {
      findings.note(`${path}: not a file of Playhead`)
      continue
    }
    const partition = Number(entry)
    if (partition >= partitions)
      findings.damaged(path, 0, `found partition ${partition} of ${topic}, wanted less than ${partitions}`)
    await verifyLog({
      fileSystem,
      clock,
      directory: path,
      name: `${topic}/${partition}`,
      topicId,
      partition,
      cache,
      findings,
    })
  }
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
