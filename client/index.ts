/** The published door of the client: every public name, one by one. */
export { connect } from './client.ts'
export type { BrokerStatus, ConnectOptions, Playhead } from './client.ts'
export type { AppendedToStreams, ListedPlayhead, StreamsOptions, Topic } from './topic.ts'
export type { TopicDescription, WaitOptions } from './topic-state.ts'
export type { StreamAppend } from './event-append.ts'
export type {
  AppendOptions,
  Appended,
  EventStream,
  Folded,
  ReadOptions,
  Reducer,
  StreamInfo,
  StreamLimit,
} from './event-stream.ts'
export type { ConsistencyOptions } from './consistency.ts'
export type { ExpectedVersion } from './expected-version.ts'
export type { Moment } from './moment.ts'
export type { Replay, ReplayOptions } from './replay.ts'
export type { PartitionRange, Place, PlaceOptions } from './replay-range.ts'
export type { ReplayBatch, ReplayRecord } from './replay-batch.ts'
export type { FailedBatch, Producer, ProducerOptions, ProducerRecord, ProducerStats } from './producer.ts'
export type { NamedCount, NamedCounts, NamedProducer, NamedProducerOptions } from './named-producer.ts'
export type { CommitOptions, NamedPlayhead, PlayheadState } from './named-playhead.ts'
export type { Access, AccessList, CreatedToken, NewToken, WhoAmI } from './access.ts'
export type { ClientCredentials } from './credentials.ts'
export type { ClientTls } from '../platform/tls.ts'
export type { Quota } from '../protocol/access.ts'
export type { Grant, Operation } from '../protocol/rights.ts'
export type {
  ClusterOperations,
  ClusterStatus,
  Draining,
  PartitionStatus,
  ReachedBroker,
  Reassignment,
} from './cluster-operations.ts'
export type { ReplicaCopy } from '../protocol/cluster.ts'
export type { Admin, CreateTopicOptions, CreatedTopic } from './admin.ts'
export { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
export type { ErrorCode, ErrorDetails, VersionConflict } from '../protocol/errors.ts'
export { eventLine } from '../protocol/event.ts'
export type { EventInput, StreamEvent } from '../protocol/event.ts'
export type { Consistency } from '../protocol/consistency.ts'
export type { Acks } from '../protocol/append.ts'
export type { PlayheadPosition } from '../protocol/playhead.ts'
export type { Compression } from '../protocol/record-batch.ts'
export type { LogRecord, RecordHeader } from '../protocol/record.ts'
export type { ListedStream } from '../protocol/stream.ts'
export type { Token } from '../protocol/token.ts'
export type { DescribedPartition, ListedTopic } from '../protocol/topic.ts'
