/** Limits that are part of the contract: both sides of the wire, and the disk, know them. Settings of a broker are in broker/config.ts. */
export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB

export const topicNameBytesMax = 249
export const streamNameBytesMax = 1024
export const playheadNameBytesMax = 249
export const partitionsMax = 4096
/** Brokers that have one partition. */
export const replicasMax = 1000
/** Brokers of one cluster. */
export const brokersMax = 1000
export const tagsPerEventMax = 16
export const tagBytesMax = 256
/** Independent groups in one append frame. */
export const groupsPerAppendMax = 4096
/** Records of one batch, however small. */
export const recordsPerBatchMax = 1_000_000
/** Conditions of one group. */
export const conditionsPerGroupMax = 4096
/** Events in one reply to readStream. */
export const eventsPerReadMax = 10_000
/** Names in one reply to listStreams. */
export const streamsPerListMax = 10_000
/** msgpack header of a request. */
export const headerBytesMax = 4 * MiB
/** msgpack header of a reply: versions of many records, names of many topics. */
export const replyHeaderBytesMax = 64 * MiB
/** Records of one batch after decompression, as readers take them: the largest that a broker's setting of the same name can allow. */
export const decompressedBytesMax = 1 * GiB
/** Type of an event, and name of one entry of its metadata. */
export const eventTypeBytesMax = 256
export const metadataNameBytesMax = 256
export const metadataPerEventMax = 64
/** Arrays and objects within each other in the JSON of an event; what is deeper is refused, and shown as bytes where it is there. */
export const jsonDepthMax = 1000
/** Events in one HTTP append. */
export const eventsPerPostMax = 10_000
/** The last offset, version or sequence-of-rows anybody may name. */
export const offsetMax = Number.MAX_SAFE_INTEGER
/** Producer sequences wrap at 2^31 - 1 to 0, as in RecordBatch v2. */
export const sequenceMax = 0x7fff_ffff

/** Segments, or files of last versions, of one log that a replica takes over as files. */
export const sharedFilesMax = 65_536
