/**
 * Tier manifest: which segments of one log the tier has, and under which keys. Written anew with every change as an object of its own, under the
 * next number; what is old of a long one stands in pages, which never change (docs/formats/tier.md draws all of it).
 * Invariants: it names only objects that were read back whole; segments stand in the order of their offsets and do not overlap; whoever made the
 * newest one is the only one who may make the next.
 * Neighbours: manifest-store.ts keeps it, tier-log.ts changes it.
 */
import { PlayheadError } from '../../protocol/errors.ts'
import { decodeFooter } from '../sidecar-format.ts'
import type { Footer } from '../sidecar-format.ts'
import { decodeFacts, encodeFacts } from '../small-file.ts'
import type { JsonObject } from '../small-file.ts'

export const tierFormatVersion = 1

/** One segment in the tier: two objects under one fresh id. */
export interface TierSegment {
  /** A UUIDv7, made for this attempt to send it. */
  readonly id: string
  readonly footer: Footer
  /** The footer as it stands in the sidecar. */
  readonly footerBytes: Buffer
  /** The first bytes of the segment file. */
  readonly head: Buffer
  /** CRC-32C of each block of the index object, 4 bytes each. */
  readonly indexSums: Buffer
}

/** Who wrote a manifest: the higher `owner`, then the higher epoch, is the newer one; a run is one process. */
export interface TierWriter {
  /** The number of the record that made this data directory the tier's owner. */
  readonly owner: number
  readonly epoch: number
  readonly run: string
}

export interface DroppedSegment {
  readonly baseOffset: number
  readonly id: string
  /** When no manifest named it any more. */
  readonly droppedMs: number
}

/** Segments that were moved out of a manifest that grew long. */
export interface PageReference {
  readonly id: string
  readonly segments: number
  readonly nextOffset: number
}

export interface TierManifest {
  readonly topicId: string
  readonly partition: number
  readonly sequence: number
  readonly writer: TierWriter
  readonly writtenMs: number
  readonly pages: readonly PageReference[]
  /** Behind those of the pages. */
  readonly segments: readonly TierSegment[]
  /** In no manifest from this one on; their objects go after the grace. */
  readonly dropped: readonly DroppedSegment[]
}

export function encodeManifest(manifest: TierManifest): Buffer {
  const { segments, ...rest } = manifest
  return encodeFacts({ format: tierFormatVersion, ...rest, segments: segments.map(segmentJson) })
}

export function encodePage(segments: readonly TierSegment[]): Buffer {
  return encodeFacts({ format: tierFormatVersion, segments: segments.map(segmentJson) })
}

/** Throws damagedData or unsupportedFormat naming `place`. */
export function decodeManifest(bytes: Buffer, place: string): TierManifest {
  const value = checkedFormat(decodeFacts(bytes, place), place)
  const { topicId, partition, sequence, writer, writtenMs, pages, segments, dropped } = value
  if (typeof topicId !== 'string' || typeof partition !== 'number' || typeof sequence !== 'number') throw unknown(place)
  if (typeof writtenMs !== 'number' || !Array.isArray(pages) || !Array.isArray(dropped)) throw unknown(place)
  return {
    topicId,
    partition,
    sequence,
    writer: writer as TierWriter,
    writtenMs,
    pages: pages as PageReference[],
    segments: segmentsOf(segments, place),
    dropped: dropped as DroppedSegment[],
  }
}

export function decodePage(bytes: Buffer, place: string): TierSegment[] {
  return segmentsOf(checkedFormat(decodeFacts(bytes, place), place).segments, place)
}

/** Whether `a` may not write any more once `b` has. */
export function isOlder(a: TierWriter, b: TierWriter): boolean {
  return a.owner !== b.owner ? a.owner < b.owner : a.epoch < b.epoch
}

function segmentJson({ id, footerBytes, head, indexSums }: TierSegment): JsonObject {
  const text = (bytes: Buffer) => bytes.toString('base64')
  return { id, footer: text(footerBytes), head: text(head), indexSums: text(indexSums) }
}

function segmentsOf(value: unknown, place: string): TierSegment[] {
  if (!Array.isArray(value)) throw unknown(place)
  const segments: TierSegment[] = []
  let nextOffset = 0
  for (const each of value as Record<string, unknown>[]) {
    const { id, footer: footerText, head, indexSums } = each
    if (typeof id !== 'string' || typeof footerText !== 'string') throw unknown(place)
    if (typeof head !== 'string' || typeof indexSums !== 'string') throw unknown(place)
    const footerBytes = Buffer.from(footerText, 'base64')
    const footer = decodeFooter(footerBytes)
    if (footer === undefined || footer.baseOffset < nextOffset) throw unknown(place)
    nextOffset = footer.nextOffset
    const bytes = (text: string) => Buffer.from(text, 'base64')
    segments.push({ id, footer, footerBytes, head: bytes(head), indexSums: bytes(indexSums) })
  }
  return segments
}

function checkedFormat(value: JsonObject, place: string): JsonObject {
  if (typeof value.format === 'number' && value.format > tierFormatVersion)
    throw new PlayheadError(
      'unsupportedFormat',
      `${place}: found format version ${value.format}, wanted at most ${tierFormatVersion}; use the release that wrote it, or a newer one`,
    )
  return value
}

function unknown(place: string): PlayheadError {
  return new PlayheadError(
    'damagedData',
    `${place}: found fields that are missing or of another kind, wanted those that Playhead wrote`,
  )
}

const idDigits = 36

/** Keys of the tier's objects. Names of topics never become keys. */
export const tierKeys = {
  owners: 'owner/',
  owner: (sequence: number) => `owner/${digits(sequence, 10)}.json`,
  topics: 'topics/',
  topic: (topicId: string) => `topics/${topicId}.json`,
  topicLogs: (topicId: string) => `logs/${topicId}/`,
  log: (topicId: string, partition: number) => `logs/${topicId}/${partition}/`,
  manifests: (topicId: string, partition: number) => `logs/${topicId}/${partition}/manifest/`,
  manifest: (topicId: string, partition: number, sequence: number) =>
    `logs/${topicId}/${partition}/manifest/${digits(sequence, 12)}.json`,
  page: (topicId: string, partition: number, id: string) => `logs/${topicId}/${partition}/page/${id}.json`,
  data: (topicId: string, partition: number) => `logs/${topicId}/${partition}/data/`,
  segment: (topicId: string, partition: number, baseOffset: number, id: string) =>
    `logs/${topicId}/${partition}/data/${digits(baseOffset, 20)}-${id}.log`,
  index: (topicId: string, partition: number, baseOffset: number, id: string) =>
    `logs/${topicId}/${partition}/data/${digits(baseOffset, 20)}-${id}.idx`,
}

/** The number in the name of a manifest or an owner record; undefined for another key. */
export function sequenceOfKey(key: string): number | undefined {
  const found = /\/(\d{10,12})\.json$/.exec(key)
  return found === null ? undefined : Number(found[1])
}

/** The id in the key of a segment, an index or a page; undefined for another key. */
export function idOfKey(key: string): string | undefined {
  const name = key.slice(key.lastIndexOf('/') + 1).replace(/\.(log|idx|json)$/, '')
  const id = name.slice(-idDigits)
  return /^[0-9a-f-]{36}$/.test(id) ? id : undefined
}

/** When the object of this id was begun, by the clock of its maker. */
export function beganMs(id: string): number {
  return Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
}

function digits(number: number, count: number): string {
  return String(number).padStart(count, '0')
}
