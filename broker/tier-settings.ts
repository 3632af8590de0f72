/** Settings of the tier: which object storage, how fast, how much of it is kept here. docs/operations/retention-and-tier.md tells how they go together. */
import { GiB, MiB } from '../protocol/limits.ts'
import { defaultTierSettings as tier } from '../storage/tier/tier-settings.ts'
import { choice, integer, text } from './setting.ts'

export const tierSettings = {
  tier: text(
    'none',
    'Object storage that sealed segments are sent to and read from: s3://bucket/prefix?endpoint=… or file:///path. Once given, it must always be.',
  ),
  readOnly: choice(['no', 'yes'], 'yes = serve what the tier has as of the start, change nothing and send nothing.'),
  tierUploadIntervalMs: integer(
    'ms',
    tier.uploadIntervalMs,
    [1_000, 30 * 24 * 3_600_000],
    'An active segment this old is sealed and sent to the tier: what the loss of this machine can cost.',
  ),
  tierUploadBytesPerSecondMax: integer(
    'bytes',
    tier.uploadBytesPerSecondMax,
    [0, 100 * GiB],
    'Sent to the tier in a second, all partitions together; 0 = no limit.',
  ),
  tierReadBytesPerSecondMax: integer(
    'bytes',
    tier.readBytesPerSecondMax,
    [0, 100 * GiB],
    'Read from the tier in a second, all readers together; 0 = no limit.',
  ),
  tierCacheBytes: integer(
    'bytes',
    tier.cacheBytes,
    [0, 1024 * GiB],
    'Blocks of the tier kept on the local disk, 128 KiB each at least: indexes, and what is read out of order. A replay fills nothing here.',
  ),
  tierMemoryBytes: integer(
    'bytes',
    tier.memoryBytes,
    [8 * MiB, 64 * GiB],
    'Memory for blocks of the tier: what was read just now, and what replays will ask for next.',
  ),
  tierOrphanGraceMs: integer(
    'ms',
    tier.orphanGraceMs,
    [60_000, 365 * 24 * 3_600_000],
    'Objects of the tier that nothing refers to any more are removed after this time; longer than the longest read and the longest upload.',
  ),
  tierStopWaitMsMax: integer(
    'ms',
    tier.stopWaitMsMax,
    [0, 8_000],
    'On SIGTERM, how long what was appended last may take on its way to the tier; what is left the next start sends.',
  ),
}
