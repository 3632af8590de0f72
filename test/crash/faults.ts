/** Names of the faults, as they stand in the table of docs/guarantees.md. */
export const faults = {
  killAtCall: 'kill -9 at a file-changing system call',
  killUnderLoad: 'kill -9 under load',
  killWithTier: 'kill -9 of a broker with a tier',
  inputOutputError: 'EIO from a write or sync',
  powerCut: 'power cut (ext4 shut down)',
  diskFull: 'disk full (ext4)',
  shortTransfer: 'read or write cut short',
} as const
