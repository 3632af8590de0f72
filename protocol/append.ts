/**
 * append: one frame, one partition, 1 … N independent groups. A group is one record batch with its own conditions and its own verdict;
 * it is written whole or not at all. The body is the batches one after the other. A group's refusal does not touch the others.
 */
import { bool, int, list, oneOf, optional, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'
import { conditionsPerGroupMax, groupsPerAppendMax, offsetMax, recordsPerBatchMax } from './limits.ts'
import { topicName } from './topic.ts'

/** The version a stream must be at for the group to be written; -1 = it has no event yet. */
const expectation = struct({
  stream: text(4096),
  /** Of its last event; -1 = it has none yet; less is an invalidExpectedVersion. */
  version: int(-offsetMax, offsetMax),
})
export type Expectation = ValueOf<typeof expectation>

const appendGroup = struct({
  /** Bytes of this group's batch in the body. */
  batchBytes: int(),
  /** Conditions: the versions that streams must be at. */
  expected: list(expectation, conditionsPerGroupMax),
  /** Answer with the version that each record got in its stream. */
  wantVersions: bool,
})

export const appendRequest = struct({
  topic: topicName,
  partition: int(),
  /** How safe the records are when the reply comes. */
  acks: oneOf('all', 'leader', 'none'),
  groups: list(appendGroup, groupsPerAppendMax),
})
export type AppendRequest = ValueOf<typeof appendRequest>
export type Acks = AppendRequest['acks']

const conflict = struct({
  stream: text(4096),
  expected: int(-offsetMax, offsetMax),
  /** The version the stream is at; -1 = no event. */
  found: int(-1),
})

const detail = struct({
  name: text(256),
  text: optional(text(16 * 1024)),
  number: optional(int(-offsetMax, offsetMax)),
})

/** How any failure travels: in a group's verdict, or as the header of a frame with the error flag. */
export const failure = struct({
  /** In the error table. */
  number: int(0, 65_535),
  /** For people: names the thing, the value found and the value wanted. */
  message: text(64 * 1024),
  /** Of wrongExpectedVersion: every condition that did not hold. */
  conflicts: list(conflict, conditionsPerGroupMax),
  /** Facts for programs, each a text or a number. */
  details: list(detail, 64),
})
export type Failure = ValueOf<typeof failure>

const appendVerdict = struct({
  /** Why nothing of this group was written; the other fields say nothing then. */
  failure: optional(failure),
  /** Of the batch; of the original one when this was a retry of something written already. */
  baseOffset: int(),
  /** The broker's append time, ms since the epoch. */
  appendTimeMs: int(),
  /** It had been written before: this is a retry, and the verdict the original one. */
  duplicate: bool,
  /** Per record, -1 for records without a key; empty when not asked for. */
  versions: list(int(-1), recordsPerBatchMax),
})

export const appendReply = struct({
  topicId: text(36),
  /** End of the last group written, exclusive: the token's offset. */
  endOffset: int(),
  /** One verdict for each group of the request, in its order. */
  groups: list(appendVerdict, groupsPerAppendMax),
})

export type AppendReply = ValueOf<typeof appendReply>

/** How far a producer got in a partition: what an import asks before it goes on. */
export const producerStateRequest = struct({ topic: topicName, partition: int(), producerId: int() })
export const producerStateReply = struct({
  /** Whether anything is known of this producer. */
  known: bool,
  producerEpoch: int(-1),
  /** Of the last record appended or refused; -1 = none yet. */
  lastSequence: int(-1),
  /** Of the last record appended; -1 = none. */
  lastOffset: int(-1),
})
