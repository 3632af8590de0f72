/**
 * playhead dump segment: a segment file for people, a line for each frame; with --json an object for each. Damage is a line like any other, and
 * makes the exit code 1. Neighbours: storage/segment-dump.ts reads the file.
 */
import { isUtf8 } from 'node:buffer'
import { resolve } from 'node:path'
import { systemClock } from '../platform/clock.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { isPlayheadError, PlayheadError } from '../protocol/errors.ts'
import type { RecordBatch } from '../protocol/record-batch.ts'
import type { LogRecord } from '../protocol/record.ts'
import { formatTime } from '../protocol/time.ts'
import { formatUuid } from '../protocol/uuid.ts'
import {
  type BatchPiece,
  type DamagePiece,
  dumpSegment,
  type SegmentPiece,
  type SidecarSummary,
  summarizeSidecar,
} from '../storage/segment-dump.ts'
import { exitDone, exitFailed } from './failure-report.ts'
import type { Session } from './session.ts'
import { grouped, withUnit } from './text-table.ts'

/** Of a value, for people; with --json it is whole. */
const shownCharsMax = 120

export async function dumpSegmentFile(
  session: Session,
  file: string,
  { records = false }: { readonly records?: boolean },
): Promise<number> {
  return await new Dump(session, resolve(file), records).run()
}

class Dump {
  readonly #session: Session
  readonly #path: string
  readonly #withRecords: boolean
  #exitCode = exitDone

  constructor(session: Session, path: string, withRecords: boolean) {
    this.#session = session
    this.#path = path
    this.#withRecords = withRecords
  }

  async run(): Promise<number> {
    const options = { fileSystem: nodeFileSystem, clock: systemClock, path: this.#path }
    try {
      await dumpSegment(options, (piece) => this.#piece(piece))
      await this.#sidecar()
    } catch (error) {
      throw noSegment(error, this.#path) ?? error
    } finally {
      await this.#session.out.flush()
    }
    return this.#exitCode
  }

  async #piece(piece: SegmentPiece): Promise<void> {
    if (piece.kind === 'damage') this.#exitCode = exitFailed
    await this.#write(this.#session.isJson ? JSON.stringify(pieceJson(piece)) : pieceText(piece))
    if (piece.kind === 'batch' && this.#withRecords) await this.#records(piece)
  }

  async #records({ batch, position, endPosition }: BatchPiece): Promise<void> {
    try {
      await batch.decompress()
      for (const record of batch)
        await this.#write(this.#session.isJson ? JSON.stringify(recordJson(record)) : recordText(record))
    } catch (error) {
      if (!isPlayheadError(error)) throw error
      await this.#piece({ kind: 'damage', position, endPosition, reason: error.message })
    }
  }

  async #sidecar(): Promise<void> {
    let summary: SidecarSummary | undefined
    try {
      summary = await summarizeSidecar(nodeFileSystem, this.#path)
    } catch (error) {
      if (!isPlayheadError(error, 'damagedData')) throw error
      this.#exitCode = exitFailed
      const json = { kind: 'sidecar', damage: error.message }
      return await this.#write(this.#session.isJson ? JSON.stringify(json) : `sidecar: damage: ${error.message}`)
    }
    if (this.#session.isJson) await this.#write(JSON.stringify(sidecarJson(summary)))
    else for (const line of sidecarLines(summary)) await this.#write(line)
  }

  async #write(line: string): Promise<void> {
    await this.#session.out.write(line)
  }
}

function noSegment(error: unknown, path: string): PlayheadError | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code !== 'ENOENT' && code !== 'EISDIR' && code !== 'ENOTDIR') return undefined
  const found = code === 'EISDIR' ? 'a directory' : 'no file'
  return new PlayheadError('invalidArgument', `${path}: found ${found}, wanted a segment file (….log)`)
}

function pieceText(piece: SegmentPiece): string {
  if (piece.kind === 'header') {
    const { topicId, partition, baseOffset, leaderEpoch, salt } = piece
    const of = `topic ${formatUuid(topicId)}, partition ${partition}, from offset ${baseOffset}`
    return `at 0: header: ${of}, leader epoch ${leaderEpoch}, salt ${salt.toString('hex')}, checksum holds`
  }
  const range = rangeText(piece)
  if (piece.kind === 'batch') return `${range}: ${batchText(piece)}`
  if (piece.kind === 'floor') return `${range}: no batch; durable below offset ${piece.durableOffset}, checksum holds`
  const bytes = withUnit(piece.endPosition - piece.position, 'byte')
  if (piece.kind === 'damage') return `${range}: DAMAGE: found ${piece.reason}; ${bytes} cannot be read`
  return `${range}: zeros to the end of the file: ${bytes} not written yet`
}

function rangeText({ position, endPosition }: Pick<DamagePiece, 'position' | 'endPosition'>): string {
  return `at ${position} to ${endPosition - 1}`
}

function batchText({ batch, appendTimeMs, durableOffset }: BatchPiece): string {
  const { baseOffset, lastOffset, recordCount, codec, leaderEpoch, baseTimestamp, maxTimestamp } = batch
  const texts = [
    `offsets ${baseOffset} to ${lastOffset}`,
    withUnit(recordCount, 'record'),
    `appended ${formatTime(appendTimeMs)}`,
    `event times ${formatTime(baseTimestamp)} (first) and ${formatTime(maxTimestamp)} (latest)`,
    `codec ${codec}`,
    `leader epoch ${leaderEpoch}`,
    producerText(batch),
    `durable below offset ${durableOffset}`,
    'both checksums hold',
  ]
  return texts.join(', ')
}

function producerText({ producerId, producerEpoch, baseSequence }: RecordBatch): string {
  if (producerId < 0) return 'no producer id'
  return `producer ${producerId} epoch ${producerEpoch} sequence ${baseSequence}`
}

function recordText({ offset, timestamp, key, value, headers }: LogRecord): string {
  const named = headers.map((header) => `${header.key}=${shown(header.value)}`)
  return `  ${[offset, formatTime(timestamp), shown(key), shown(value), ...named].join('  ')}`
}

/** On one line, and not longer than people read. */
function shown(bytes: Buffer | null): string {
  if (bytes === null) return 'null'
  const text = isUtf8(bytes) ? JSON.stringify(bytes.toString('utf8')) : `0x${bytes.toString('hex')}`
  return text.length <= shownCharsMax ? text : `${text.slice(0, shownCharsMax)}… (${withUnit(bytes.length, 'byte')})`
}

function pieceJson(piece: SegmentPiece): unknown {
  if (piece.kind === 'header') {
    const { kind, topicId, partition, baseOffset, leaderEpoch, salt } = piece
    return { kind, topicId: formatUuid(topicId), partition, baseOffset, leaderEpoch, salt: salt.toString('hex') }
  }
  if (piece.kind === 'floor') {
    const { appendTimeMs, ...facts } = piece
    return { ...facts, appendTime: formatTime(appendTimeMs) }
  }
  if (piece.kind !== 'batch') return piece
  const { batch, appendTimeMs, ...facts } = piece
  const { baseOffset, lastOffset, recordCount, codec, leaderEpoch, producerId, producerEpoch, baseSequence } = batch
  return {
    ...facts,
    baseOffset,
    lastOffset,
    recordCount,
    codec,
    leaderEpoch,
    appendTime: formatTime(appendTimeMs),
    baseTimestamp: formatTime(batch.baseTimestamp),
    maxTimestamp: formatTime(batch.maxTimestamp),
    producer: producerId < 0 ? null : { id: producerId, epoch: producerEpoch, sequence: baseSequence },
  }
}

function recordJson({ offset, timestamp, key, value, headers }: LogRecord): unknown {
  const listed = headers.map((header) => ({ name: header.key, ...blobJson('value', header.value) }))
  return {
    kind: 'record',
    offset,
    timestamp: formatTime(timestamp),
    ...blobJson('key', key),
    ...blobJson('value', value),
    headers: listed,
  }
}

/** `name` where the bytes are text, `nameBase64` where they are not. */
function blobJson(name: string, bytes: Buffer | null): Record<string, string | null> {
  if (bytes === null) return { [name]: null }
  return isUtf8(bytes) ? { [name]: bytes.toString('utf8') } : { [`${name}Base64`]: bytes.toString('base64') }
}

function sidecarJson(summary: SidecarSummary | undefined): unknown {
  if (summary === undefined) return { kind: 'sidecar', file: null }
  const { topicId, maxTimestamp, ...footer } = summary.footer
  return {
    kind: 'sidecar',
    file: summary.path,
    sections: summary.sections,
    footer: {
      ...footer,
      topicId: formatUuid(topicId),
      maxTimestamp: Number.isFinite(maxTimestamp) ? formatTime(maxTimestamp) : null,
    },
  }
}

function sidecarLines(summary: SidecarSummary | undefined): string[] {
  if (summary === undefined) return ['sidecar: none (the segment is not sealed, or it is made at the next start)']
  const { path, footer, sections } = summary
  const { baseOffset, nextOffset, batches, records, streams, segmentBytes, segmentChecksum } = footer
  return [
    `sidecar: ${path}: checksums hold`,
    `  sections: ${sections.map(({ name, bytes }) => `${name} ${withUnit(bytes, 'byte')}`).join(', ')}`,
    `  footer: offsets ${baseOffset} to ${nextOffset - 1}, ${withUnit(batches, 'batch')}, ${withUnit(records, 'record')}, ${withUnit(streams, 'stream')}`,
    `  footer: segment of ${grouped(segmentBytes)} bytes with checksum 0x${segmentChecksum.toString(16)}, ` +
      `own checksum 0x${footer.checksum.toString(16)}, previous 0x${footer.previousChecksum.toString(16)}`,
  ]
}
