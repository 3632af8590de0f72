/** What the counts of all logs mean, one row each: `appendedBytes` is published as playhead_log_appended_bytes_total. Called by metrics.ts. */

/** By the key in Log.stats. */
export const logMetricHelp: Readonly<Record<string, string>> = {
  appendedBatches: 'Batches that took effect.',
  appendedRecords: 'Records that took effect.',
  appendedBytes: 'Bytes of batches that took effect.',
  duplicates: 'Batches that had been written before: retries of producers.',
  refusals: 'Batches that were refused.',
  readBatches: 'Batches read for clients.',
  readBytes: 'Bytes of batches read for clients.',
  groups: 'Group commits: durable writes of one log.',
  syncs: 'Syncs of the disk.',
  writtenBytes: 'Bytes written durably, frames included.',
  floorFrames: 'Frames written by logs that became idle.',
  waitingAppends: 'Appends that wait for room, a segment or decompression.',
  indexMemoryBytes: 'Memory of what the stream indexes have not saved yet, and of their newest heads.',
  unsavedBytes: 'Log bytes that no saved index has yet: what a restart would read again. The lag of the index.',
  unsealedSegments: 'Full segments that are still to be cut to their size and given their sidecars.',
  producers: 'Producers remembered to tell their retries.',
  removedSegments: 'Segments that retention has removed.',
  removedBytes: 'Bytes of them.',
  compactions: 'Passes of compaction that came to their end.',
  rewrittenSegments: 'Segments written again without what is superseded.',
  compactedRecords: 'Records that compaction has looked at.',
  removedRecords: 'Records that compaction has removed.',
  freedBytes: 'Bytes that compaction has given back.',
  compactingBytes: 'Bytes that the compaction under way goes through.',
  compactingBytesDone: 'Bytes of them that it has gone through.',
}

/** Amounts of now, which go up and down. */
export const presentAmounts: ReadonlySet<string> = new Set([
  'waitingAppends',
  'indexMemoryBytes',
  'unsavedBytes',
  'unsealedSegments',
  'producers',
  'compactingBytes',
  'compactingBytesDone',
])
