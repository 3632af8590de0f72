/**
 * LogFacts: what is true of one log and not in it: where it begins, and how far it is compacted. `log.json` in the directory of the log, a small
 * file. No file: the log begins at 0 and was never compacted.
 * Invariants: no number in it ever goes back; a change is on disk before anybody is told, and before a byte of what it gives up is removed. Whoever
 * moves or removes the directory of the log waits for `settled` first: a write that fails for want of its directory would end the broker.
 * Neighbours: Log asks it, Retention moves the start, Compaction the rest; recovery.ts reads it first. docs/formats/log-facts.md has the fields.
 */
import assert from 'node:assert/strict'
import type { FileSystem } from '../platform/file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { refusalOf } from './disk-space.ts'
import { damagedFile, readSmallFile, writeSmallFile } from './small-file.ts'
import type { JsonObject } from './small-file.ts'
import type { StorageContext } from './storage-context.ts'

const formatVersion = 1
export const logFactsFile = 'log.json'

export interface LogFactValues {
  /** The first offset there is. */
  readonly logStartOffset: number
  /** Of events below it only the newest of each stream is there for readers of streams; 0 = no such thing. */
  readonly compactedTo: number
  /** Segments from here to `compactedTo` may still have to be rewritten. */
  readonly rewrittenTo: number
}

type LogFactsContext = Pick<StorageContext, 'fileSystem' | 'onFatal'>

const names = ['logStartOffset', 'compactedTo', 'rewrittenTo'] as const

export class LogFacts {
  readonly #context: LogFactsContext
  readonly #path: string
  #values: LogFactValues
  /** One change at a time. */
  #changing: Promise<void> = Promise.resolve()

  private constructor(context: LogFactsContext, path: string, values: LogFactValues) {
    this.#context = context
    this.#path = path
    this.#values = values
  }

  /** Throws damagedData naming the file, unsupportedFormat when a newer release wrote it. */
  static async open(context: LogFactsContext, directory: string): Promise<LogFacts> {
    const path = `${directory}/${logFactsFile}`
    return new LogFacts(context, path, await readLogFacts(context.fileSystem, path))
  }

  get values(): LogFactValues {
    return this.#values
  }

  get logStartOffset(): number {
    return this.#values.logStartOffset
  }

  /** Resolves when it is on disk. Numbers that would go back stay as they are. Throws diskFull, overloaded, storageFailed. */
  async raise(changes: Partial<LogFactValues>): Promise<void> {
    const change = this.#changing.then(() => this.#raise(changes))
    this.#changing = change.catch(() => undefined) // whoever asked hears; the next one tries for itself
    await change
  }

  /** Resolves when nothing that was asked for before is still to be written. */
  async settled(): Promise<void> {
    await this.#changing
  }

  async #raise(changes: Partial<LogFactValues>): Promise<void> {
    const before = this.#values
    const raised = (name: keyof LogFactValues) => Math.max(before[name], changes[name] ?? 0)
    const values = {
      logStartOffset: raised('logStartOffset'),
      compactedTo: raised('compactedTo'),
      rewrittenTo: raised('rewrittenTo'),
    }
    assert(names.every((name) => Number.isSafeInteger(values[name])))
    if (names.every((name) => values[name] === before[name])) return
    try {
      await writeSmallFile(this.#context.fileSystem, this.#path, fileOf(values))
    } catch (error) {
      throw this.#refusal(error)
    }
    this.#values = values
  }

  /** What a full disk refuses may be tried again. After any other failure nobody knows which facts are on disk: the broker ends. */
  #refusal(error: unknown): unknown {
    const refusal = refusalOf(error, this.#path)
    if (refusal instanceof PlayheadError) return refusal
    const cause = error instanceof Error ? error : new Error(String(error))
    this.#context.onFatal(cause)
    return new PlayheadError(
      'storageFailed',
      `${this.#path}: found ${cause.message} while writing, wanted the bytes on disk; the broker stops, start it again`,
      { file: this.#path },
    )
  }
}

/** Of a log that is not open. */
export async function writeLogFacts(fileSystem: FileSystem, directory: string, values: LogFactValues): Promise<void> {
  await writeSmallFile(fileSystem, `${directory}/${logFactsFile}`, fileOf(values))
}

function fileOf({ logStartOffset, compactedTo, rewrittenTo }: LogFactValues): JsonObject {
  return { format: formatVersion, logStartOffset, compactedTo, rewrittenTo }
}

const noFacts: LogFactValues = { logStartOffset: 0, compactedTo: 0, rewrittenTo: 0 }

/** Throws damagedData, unsupportedFormat. */
export async function readLogFacts(fileSystem: FileSystem, path: string): Promise<LogFactValues> {
  const value = await readSmallFile(fileSystem, path)
  if (value === undefined) return noFacts
  if (typeof value.format === 'number' && value.format > formatVersion) {
    throw new PlayheadError(
      'unsupportedFormat',
      `${path}: found format version ${value.format}, wanted at most ${formatVersion}; use the release that wrote it, or a newer one`,
      { file: path, format: value.format },
    )
  }
  const { logStartOffset, compactedTo, rewrittenTo } = value
  if (!isOffset(logStartOffset) || !isOffset(compactedTo) || !isOffset(rewrittenTo))
    throw damagedFile(path, 'fields that are missing or of another kind', 'those that Playhead wrote')
  return { logStartOffset, compactedTo, rewrittenTo }
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
