/**
 * TierLog: what the tier has of one log, as of the newest manifest that this broker wrote or read. A copy of it is on the local disk, so that a
 * start needs no network.
 * Invariants: what is answered stands in a manifest that is in the store and on the local disk; one change at a time; a change of somebody newer
 * ends ours for good (`tierFenced`).
 * Neighbours: TieredFileSystem asks it for files, TierUploader and retention change it.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import type { Clock } from '../../platform/clock.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { formatUuid, uuidV7 } from '../../protocol/uuid.ts'
import { bytesOfFile, replaceFile } from '../small-file.ts'
import { getFacts } from './fact-object.ts'
import type { ManifestStore } from './manifest-store.ts'
import { tierUnavailable } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import { decodeManifest, decodePage, encodeManifest, encodePage, isOlder, tierKeys } from './tier-manifest.ts'
import { saltOf } from './tier-sight.ts'
import type { DroppedSegment, PageReference, TierManifest, TierSegment, TierWriter } from './tier-manifest.ts'

/** A manifest with more segments than this has the older half of them moved into a page. */
const manifestSegmentsMax = 1024

export interface TierLogContext {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  readonly store: ObjectStore
  readonly manifests: ManifestStore
  /** Where copies of manifests and pages are. */
  readonly directory: string
  /** In a cluster: which of the segments that a manifest names this replica shows (tier-sight.ts). Absent: all of them, and nobody else writes. */
  readonly sight?: (named: readonly TierSegment[]) => Promise<readonly TierSegment[]>
}

interface Page {
  readonly reference: PageReference
  readonly segments: readonly TierSegment[]
}

export interface TierChange {
  readonly add?: readonly TierSegment[]
  /** Base offsets. */
  readonly drop?: readonly number[]
  /** Ids whose objects are gone. */
  readonly forget?: readonly string[]
  /** Of the log on the local disk: the tier must not know of more. */
  readonly logEndOffset?: number
}

export class TierLog {
  readonly topicId: string
  readonly partition: number
  readonly #context: TierLogContext
  #manifest: TierManifest | undefined
  #pages: readonly Page[] = []
  /** All that the manifest names, in order. */
  #named: readonly TierSegment[] = []
  /** Of them, what is shown. */
  #segments = new Map<number, TierSegment>()
  /** One look at what is shown after the other; never rejects. */
  #looking: Promise<void> = Promise.resolve()
  /** Shown although there is a file here: it is on its way out. */
  readonly #preferred = new Set<number>()
  /** Out of sight, and still in the manifest: gone from the log, or rewritten and to be sent again, which its old objects wait for. */
  readonly #hidden = new Map<number, 'removed' | 'replaced'>()
  /** By the change under way, which does not know of what is hidden after its beginning. */
  #adding: ReadonlySet<number> = new Set()
  readonly #hiddenMeanwhile = new Set<number>()
  #changing: Promise<unknown> = Promise.resolve()

  constructor(context: TierLogContext, topicId: string, partition: number) {
    this.#context = context
    this.topicId = topicId
    this.partition = partition
  }

  get manifest(): TierManifest | undefined {
    return this.#manifest
  }

  /** Whether all brokers of a cluster have it together. */
  get isShared(): boolean {
    return this.#context.sight !== undefined
  }

  /** All that the manifest names, in order, whatever is shown here. */
  get named(): readonly TierSegment[] {
    return this.#named
  }

  /** What is shown, in order of offsets. */
  get segments(): TierSegment[] {
    return [...this.#segments.values()].toSorted((a, b) => a.footer.baseOffset - b.footer.baseOffset)
  }

  get segmentCount(): number {
    return this.#segments.size
  }

  segment(baseOffset: number): TierSegment | undefined {
    return this.#segments.get(baseOffset)
  }

  /** Behind the last record that the tier has; -1 = it has none. */
  get endOffset(): number {
    let end = -1
    for (const { footer } of this.#segments.values()) end = Math.max(end, footer.nextOffset)
    return end
  }

  /** Takes in the copy of an earlier run. Throws damagedData. */
  async load(): Promise<void> {
    const path = this.#manifestPath
    if (!(await this.#context.fileSystem.exists(path))) return
    const bytes = await bytesOfFile(this.#context.fileSystem, path)
    await this.#adopt(decodeManifest(bytes, path))
  }

  /** Takes over a manifest that was read from the store. */
  async adopt(manifest: TierManifest): Promise<void> {
    const pages = await this.#pagesOf(manifest)
    await this.#saveCopy(manifest) // before anything is let go of by it
    await this.#take(manifest, pages)
  }

  /** In a cluster: looks anew at what is to be shown beside the files that are here now. */
  look(): Promise<void> {
    const { sight } = this.#context
    if (sight === undefined) return Promise.resolve()
    const looking = this.#looking.then(async () => this.#show(await sight(this.#named)))
    this.#looking = looking.catch(() => undefined)
    return looking
  }

  /** From now on the segment is read from the tier, although there is a file of it here. */
  prefer(segment: TierSegment): void {
    this.#segments.set(segment.footer.baseOffset, segment)
    this.#preferred.add(segment.footer.baseOffset)
  }

  isPreferred(baseOffset: number): boolean {
    return this.#preferred.has(baseOffset)
  }

  /** Whether there is a file or not decides again. */
  preferNoMore(baseOffset: number): void {
    this.#preferred.delete(baseOffset)
  }

  /** Takes segments in, or out. Throws tierFenced, tierUnavailable, tierRefused. */
  change(change: TierChange, writer: TierWriter): Promise<void> {
    const changing = this.#changing.then(() => this.#change(change, writer))
    this.#changing = changing.catch(() => undefined)
    return changing
  }

  /** Takes a segment out of sight at once, and out of the manifest with the next change, or with the one that adds what has taken its place. */
  hide(baseOffset: number, why: 'removed' | 'replaced'): void {
    if (this.isShared) {
      // What this replica has no more others may have still: only where the log begins says what leaves the manifest.
      this.#segments.delete(baseOffset)
      this.#preferred.delete(baseOffset)
      return
    }
    const isNamed = this.#segments.delete(baseOffset) || this.#hidden.has(baseOffset) || this.#adding.has(baseOffset)
    if (!isNamed) return
    this.#hidden.set(baseOffset, why)
    this.#hiddenMeanwhile.add(baseOffset)
  }

  isHidden(baseOffset: number): boolean {
    return this.isShared
      ? this.#named.some((each) => each.footer.baseOffset === baseOffset)
      : this.#hidden.has(baseOffset)
  }

  /** Whether the next change takes something out of the manifest. */
  get hasRemoved(): boolean {
    return [...this.#hidden.values()].includes('removed')
  }

  /** Whether the manifest still names what is out of sight. */
  get isBehind(): boolean {
    return this.#hidden.size > 0
  }

  async #change(change: TierChange, writer: TierWriter): Promise<void> {
    this.#adding = new Set(change.add?.map(({ footer }) => footer.baseOffset))
    this.#hiddenMeanwhile.clear()
    try {
      await this.#changeTo(change, writer)
    } finally {
      this.#adding = new Set()
    }
  }

  async #changeTo(change: TierChange, writer: TierWriter): Promise<void> {
    const { drop = [], forget = [], logEndOffset = Infinity } = change
    let { add = [] } = change
    if (this.isShared) add = add.filter((each) => this.#hasRoomFor(each))
    const { manifests, clock } = this.#context
    let sequence = (this.#manifest?.sequence ?? 0) + 1
    const isOver = ([base, why]: [number, string]) => why === 'removed' || this.#adding.has(base)
    const hidden = [...this.#hidden].filter(isOver).map(([base]) => base)
    for (;;) {
      const { manifest, pages, fresh } = this.#next({ add, drop: [...drop, ...hidden], forget }, writer, sequence)
      for (const page of fresh)
        await this.#context.store.put(
          tierKeys.page(this.topicId, this.partition, page.reference.id),
          encodePage(page.segments),
        )
      const outcome = await manifests.replace(manifest)
      if (outcome === 'stored') {
        await this.#saveCopy(manifest, fresh)
        for (const base of hidden) if (!this.#hiddenMeanwhile.has(base)) this.#hidden.delete(base)
        await this.#take(manifest, pages)
        return
      }
      // Our own: that it was stored was not heard.
      if (outcome.writer.run === writer.run) await this.adopt(outcome)
      // Whoever is older did not know that he was: what he stored is not ours, and its objects go as nobody's.
      else if (!isOlder(outcome.writer, writer)) throw fenced(this.topicId, this.partition, outcome, clock.now())
      // In a cluster he led before, and what he sent was committed; he, or others, may have let go of it.
      else if (this.isShared && outcome.writer.owner === writer.owner) await this.adopt(outcome)
      else if (outcome.writer.owner === writer.owner) checkEnd(outcome, logEndOffset)
      if (this.isShared) add = add.filter((each) => this.#hasRoomFor(each))
      sequence = outcome.sequence + 1
    }
  }

  /** The manifest after the change, and the pages that it needs and that are not stored yet. */
  #next(
    { add, drop, forget }: Required<Omit<TierChange, 'logEndOffset'>>,
    writer: TierWriter,
    sequence: number,
  ): { manifest: TierManifest; pages: Page[]; fresh: Page[] } {
    const nowMs = this.#context.clock.now()
    const out = new Set([...drop, ...add.map(({ footer }) => footer.baseOffset)])
    const dropped: DroppedSegment[] = (this.#manifest?.dropped ?? []).filter(({ id }) => !forget.includes(id))
    const added = new Set(add.map(({ id }) => id))
    const pages: Page[] = []
    const fresh: Page[] = []
    let from = 0
    const inRange = (end: number) => add.filter(({ footer }) => footer.baseOffset >= from && footer.baseOffset < end)
    const without = (segments: readonly TierSegment[]) =>
      segments.filter(({ id, footer }) => {
        if (out.has(footer.baseOffset) && !added.has(id))
          dropped.push({ baseOffset: footer.baseOffset, id, droppedMs: nowMs })
        return !out.has(footer.baseOffset)
      })
    for (const page of this.#pages) {
      const kept = merged(without(page.segments), inRange(page.reference.nextOffset))
      from = page.reference.nextOffset
      if (kept.length === page.segments.length && kept.every((each, place) => each === page.segments[place])) {
        pages.push(page)
        continue
      }
      dropped.push({ baseOffset: -1, id: page.reference.id, droppedMs: nowMs })
      if (kept.length > 0) fresh.push(this.#newPage(kept, from))
      if (kept.length > 0) pages.push(fresh.at(-1)!)
    }
    let tail = merged(without(this.#manifest?.segments ?? []), inRange(Infinity))
    if (tail.length > manifestSegmentsMax) {
      const old = tail.slice(0, manifestSegmentsMax / 2)
      tail = tail.slice(old.length)
      fresh.push(this.#newPage(old, old.at(-1)!.footer.nextOffset))
      pages.push(fresh.at(-1)!)
    }
    const { topicId, partition } = this
    const references = pages.map(({ reference }) => reference)
    const manifest = {
      topicId,
      partition,
      sequence,
      writer,
      writtenMs: nowMs,
      pages: references,
      dropped,
      segments: tail,
    }
    return { manifest, pages, fresh }
  }

  #newPage(segments: readonly TierSegment[], nextOffset: number): Page {
    const { random, clock } = this.#context
    const id = formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
    return { reference: { id, segments: segments.length, nextOffset }, segments }
  }

  async #adopt(manifest: TierManifest): Promise<void> {
    await this.#take(manifest, await this.#pagesOf(manifest))
  }

  async #pagesOf(manifest: TierManifest): Promise<Page[]> {
    const pages: Page[] = []
    for (const reference of manifest.pages) pages.push({ reference, segments: await this.#page(reference.id) })
    return pages
  }

  async #take(manifest: TierManifest, pages: readonly Page[]): Promise<void> {
    this.#manifest = manifest
    this.#pages = pages
    this.#named = [...pages.flatMap(({ segments }) => segments), ...manifest.segments]
    if (this.isShared) return await this.look()
    this.#show(this.#named.filter(({ footer }) => !this.#hidden.has(footer.baseOffset)))
  }

  #show(segments: readonly TierSegment[]): void {
    this.#segments = new Map(segments.map((segment) => [segment.footer.baseOffset, segment]))
    for (const segment of this.#named)
      if (this.#preferred.has(segment.footer.baseOffset)) this.#segments.set(segment.footer.baseOffset, segment)
  }

  /** Whether no other segment that is named lies where this one does, and they are under the same salt. */
  #hasRoomFor(segment: TierSegment): boolean {
    const { id, footer } = segment
    const [last, salt] = [this.#named.at(-1), saltOf(segment)]
    if (last !== undefined && (salt === undefined || saltOf(last)?.equals(salt) === false)) return false
    return this.#named.every(
      (each) =>
        each.id === id || each.footer.nextOffset <= footer.baseOffset || each.footer.baseOffset >= footer.nextOffset,
    )
  }

  async #page(id: string): Promise<TierSegment[]> {
    const { store, clock, fileSystem } = this.#context
    if (await fileSystem.exists(this.#pagePath(id)))
      return decodePage(await bytesOfFile(this.#context.fileSystem, this.#pagePath(id)), id)
    const key = tierKeys.page(this.topicId, this.partition, id)
    const segments = await getFacts(store, clock, key, decodePage)
    if (segments === undefined) throw tierUnavailable(store.location, `no object ${key} although a manifest names it`)
    await fileSystem.makeDirectory(this.#context.directory)
    await replaceFile(fileSystem, this.#pagePath(id), [encodePage(segments)])
    return segments
  }

  async #saveCopy(manifest: TierManifest, fresh: readonly Page[] = []): Promise<void> {
    const { fileSystem, directory } = this.#context
    await fileSystem.makeDirectory(directory)
    for (const { reference, segments } of fresh)
      await replaceFile(fileSystem, this.#pagePath(reference.id), [encodePage(segments)])
    await replaceFile(fileSystem, this.#manifestPath, [encodeManifest(manifest)])
  }

  get #manifestPath(): string {
    return `${this.#context.directory}/${manifestFileName(this.topicId, this.partition)}`
  }

  #pagePath(id: string): string {
    return `${this.#context.directory}/page-${id}.json`
  }
}

/** Of the local copy. */
export function manifestFileName(topicId: string, partition: number): string {
  return `log-${topicId}-${partition}.json`
}

/** The log that a local copy is of; undefined for another file. */
export function logOfManifestFile(name: string): { topicId: string; partition: number } | undefined {
  const found = /^log-([0-9a-f-]{36})-(\d+)\.json$/.exec(name)
  return found === null ? undefined : { topicId: found[1]!, partition: Number(found[2]) }
}

function merged(kept: readonly TierSegment[], added: readonly TierSegment[]): TierSegment[] {
  return [...kept, ...added].toSorted((a, b) => a.footer.baseOffset - b.footer.baseOffset)
}

/** A data directory that was put back from an old copy would drop what was appended since from the tier, for good. */
function checkEnd({ topicId, partition, segments }: TierManifest, logEndOffset: number): void {
  const endOffset = segments.at(-1)?.footer.nextOffset ?? 0
  if (endOffset <= logEndOffset) return
  throw new PlayheadError(
    'tierFenced',
    `tier of ${topicId}/${partition}: found offsets up to ${endOffset} there and ${logEndOffset} here, wanted all of them here: this data directory is older than its tier, and sends nothing more; stop this broker and make one from the tier: playhead tier restore`,
  )
}

function fenced(topicId: string, partition: number, { writer, writtenMs }: TierManifest, nowMs: number): PlayheadError {
  const { owner, epoch, run } = writer
  return new PlayheadError(
    'tierFenced',
    `tier of ${topicId}/${partition}: found a manifest that another broker wrote ${Math.round((nowMs - writtenMs) / 1000)} s ago (owner ${owner}, epoch ${epoch}, run ${run}), wanted to be the only writer; this broker sends nothing more to the tier: stop one of the two, and never run two on copies of one data directory`,
    { owner, epoch },
  )
}
