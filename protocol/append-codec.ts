/**
 * The headers of append, as bytes, without an array for each group in between: with a thousand single events under way, packing and
 * unpacking them was a sixth of the broker's time. The same bytes as the schemas in append.ts give; what is rare (refusals, names that are
 * not ASCII, anything wrong) is left to those. Neighbours: append.ts has the shapes, header-codec.ts asks here first.
 */
import type { AppendReply, AppendRequest } from './append.ts'
import type { PlainCodec } from './header-schema.ts'
import {
  conditionsPerGroupMax,
  groupsPerAppendMax,
  offsetMax,
  recordsPerBatchMax,
  topicNameBytesMax,
} from './limits.ts'
import { PlainReader, PlainWriter } from './plain-msgpack.ts'

const conditionStreamBytesMax = 4096
const topicIdBytesMax = 36

const writer = new PlainWriter()

export const appendRequestCodec: PlainCodec<AppendRequest> = {
  encode({ topic, partition, acks, groups }) {
    writer.begin()
    writer.array(4)
    writer.text(topic)
    writer.int(partition)
    writer.text(acks)
    writer.array(groups.length)
    for (const { batchBytes, expected, wantVersions } of groups) {
      writer.array(3)
      writer.int(batchBytes)
      writer.array(expected.length)
      for (const { stream, version } of expected) {
        writer.array(2)
        writer.text(stream)
        writer.int(version)
      }
      writer.bool(wantVersions)
    }
    return writer.end()
  },

  decode(header) {
    const reader = new PlainReader(header)
    reader.tuple(4)
    const topic = reader.text(topicNameBytesMax)
    const partition = reader.int(0)
    const acks = reader.text(topicNameBytesMax)
    if (acks !== 'all' && acks !== 'leader' && acks !== 'none') return undefined
    const groups: AppendRequest['groups'] = []
    for (let left = reader.array(groupsPerAppendMax); left > 0 && reader.certain; left--) {
      reader.tuple(3)
      const batchBytes = reader.int(0)
      const expected = readExpected(reader)
      groups.push({ batchBytes, expected, wantVersions: reader.bool() })
    }
    return reader.done ? { topic, partition, acks, groups } : undefined
  },
}

function readExpected(reader: PlainReader): AppendRequest['groups'][number]['expected'] {
  const count = reader.array(conditionsPerGroupMax)
  if (count === 1) return [readExpectation(reader)]
  const expected: AppendRequest['groups'][number]['expected'] = []
  for (let left = count; left > 0 && reader.certain; left--) expected.push(readExpectation(reader))
  return expected
}

function readExpectation(reader: PlainReader): { stream: string; version: number } {
  reader.tuple(2)
  return { stream: reader.text(conditionStreamBytesMax), version: reader.int(-offsetMax) }
}

export const appendReplyCodec: PlainCodec<AppendReply> = {
  encode({ topicId, endOffset, groups }) {
    writer.begin()
    writer.array(3)
    writer.text(topicId)
    writer.int(endOffset)
    writer.array(groups.length)
    for (const { failure, baseOffset, appendTimeMs, duplicate, versions } of groups) {
      if (failure !== undefined) return undefined
      writer.array(5)
      writer.nil()
      writer.int(baseOffset)
      writer.int(appendTimeMs)
      writer.bool(duplicate)
      writer.array(versions.length)
      for (const version of versions) writer.int(version)
    }
    return writer.end()
  },

  decode(header) {
    const reader = new PlainReader(header)
    reader.tuple(3)
    const topicId = reader.text(topicIdBytesMax)
    const endOffset = reader.int(0)
    const groups: AppendReply['groups'] = []
    for (let left = reader.array(groupsPerAppendMax); left > 0 && reader.certain; left--) {
      reader.tuple(5)
      reader.nil()
      const baseOffset = reader.int(0)
      const appendTimeMs = reader.int(0)
      const duplicate = reader.bool()
      groups.push({ failure: undefined, baseOffset, appendTimeMs, duplicate, versions: readVersions(reader) })
    }
    return reader.done ? { topicId, endOffset, groups } : undefined
  },
}

function readVersions(reader: PlainReader): number[] {
  const count = reader.array(recordsPerBatchMax)
  if (count === 1) return [reader.int(-1)]
  const versions: number[] = []
  for (let left = count; left > 0 && reader.certain; left--) versions.push(reader.int(-1))
  return versions
}
