/**
 * The error table: every expected failure of a broker, a client or a command is one row here. The number is the wire contract and is
 * never reused. Anything thrown that is not a PlayheadError is a bug.
 * camelCase in code, on the wire and in HTTP; kebab-case in the command line.
 */
interface ErrorRow {
  readonly number: number
  /** The same request may succeed later or elsewhere without being changed. */
  readonly retriable: boolean
  readonly http: number
}

export const errorTable = {
  internal: { number: 1, retriable: false, http: 500 },
  malformedFrame: { number: 2, retriable: false, http: 400 },
  frameTooLarge: { number: 3, retriable: false, http: 413 },
  unknownApi: { number: 4, retriable: false, http: 404 },
  unsupportedVersion: { number: 5, retriable: false, http: 400 },
  malformedHeader: { number: 6, retriable: false, http: 400 },
  helloRequired: { number: 7, retriable: false, http: 400 },

  unknownTopic: { number: 20, retriable: false, http: 404 },
  unknownPartition: { number: 21, retriable: false, http: 404 },
  topicExists: { number: 22, retriable: false, http: 409 },
  invalidTopicName: { number: 23, retriable: false, http: 400 },
  invalidPartitions: { number: 24, retriable: false, http: 400 },
  unknownSetting: { number: 25, retriable: false, http: 400 },
  invalidSetting: { number: 26, retriable: false, http: 400 },
  internalTopic: { number: 27, retriable: false, http: 403 },
  invalidReplicationFactor: { number: 28, retriable: false, http: 400 },
  tooManyPartitions: { number: 29, retriable: false, http: 409 },

  invalidStream: { number: 40, retriable: false, http: 400 },
  invalidExpectedVersion: { number: 41, retriable: false, http: 400 },
  wrongExpectedVersion: { number: 42, retriable: false, http: 409 },
  wrongPartition: { number: 43, retriable: false, http: 400 },
  invalidEvent: { number: 44, retriable: false, http: 400 },
  idReused: { number: 45, retriable: false, http: 409 },

  invalidBatch: { number: 60, retriable: false, http: 400 },
  batchTooLarge: { number: 61, retriable: false, http: 413 },
  unsupportedCompression: { number: 62, retriable: false, http: 415 },
  corruptBatch: { number: 63, retriable: false, http: 500 },
  offsetOutOfRange: { number: 64, retriable: false, http: 416 },
  invalidProducerEpoch: { number: 65, retriable: false, http: 409 },
  outOfOrderSequence: { number: 66, retriable: false, http: 409 },
  tokenMismatch: { number: 67, retriable: false, http: 409 },

  notLeader: { number: 80, retriable: true, http: 503 },
  notEnoughReplicas: { number: 81, retriable: true, http: 503 },
  overloaded: { number: 82, retriable: true, http: 503 },
  diskFull: { number: 83, retriable: true, http: 507 },
  stopping: { number: 84, retriable: true, http: 503 },
  timedOut: { number: 85, retriable: true, http: 504 },
  unavailable: { number: 86, retriable: true, http: 503 },
  replicaDiverged: { number: 87, retriable: true, http: 409 },
  fencedEpoch: { number: 88, retriable: true, http: 409 },

  unknownPlayhead: { number: 100, retriable: false, http: 404 },
  invalidPlayheadName: { number: 101, retriable: false, http: 400 },
  playheadMoved: { number: 102, retriable: false, http: 409 },

  dataDirectoryInUse: { number: 120, retriable: false, http: 500 },
  dataDirectoryNotWritable: { number: 121, retriable: false, http: 500 },
  unsupportedFormat: { number: 122, retriable: false, http: 500 },
  damagedData: { number: 123, retriable: false, http: 500 },
  portInUse: { number: 124, retriable: false, http: 500 },
  invalidConfiguration: { number: 125, retriable: false, http: 500 },
  storageFailed: { number: 126, retriable: false, http: 500 },

  invalidArgument: { number: 140, retriable: false, http: 400 },
  invalidRow: { number: 141, retriable: false, http: 400 },
  closed: { number: 142, retriable: false, http: 400 },

  tierUnavailable: { number: 150, retriable: true, http: 503 },
  tierRefused: { number: 151, retriable: false, http: 500 },
  tierFenced: { number: 152, retriable: false, http: 409 },
  readOnly: { number: 153, retriable: false, http: 403 },

  viewFailed: { number: 160, retriable: false, http: 500 },
  viewTopicMismatch: { number: 161, retriable: false, http: 409 },
  viewInUse: { number: 162, retriable: false, http: 409 },
  viewSuperseded: { number: 163, retriable: false, http: 409 },

  metadataStoreRefused: { number: 180, retriable: false, http: 500 },
  metadataStoreReplaced: { number: 181, retriable: false, http: 500 },
  clusterMismatch: { number: 182, retriable: false, http: 500 },
  brokerIdInUse: { number: 183, retriable: false, http: 500 },
  dataDirectoryMismatch: { number: 184, retriable: false, http: 500 },
  notClustered: { number: 185, retriable: false, http: 409 },

  targetNotEmpty: { number: 200, retriable: false, http: 409 },
  incompleteBackup: { number: 201, retriable: false, http: 500 },
  damagedBackup: { number: 202, retriable: false, http: 500 },

  unauthenticated: { number: 210, retriable: false, http: 401 },
  notAuthorized: { number: 211, retriable: false, http: 403 },
  unknownUser: { number: 212, retriable: false, http: 404 },
  userExists: { number: 213, retriable: false, http: 409 },
  invalidUserName: { number: 214, retriable: false, http: 400 },
  unknownToken: { number: 215, retriable: false, http: 404 },
  invalidGrant: { number: 216, retriable: false, http: 400 },
  securityOff: { number: 217, retriable: false, http: 409 },
  damagedAudit: { number: 218, retriable: false, http: 500 },
  untrustedBroker: { number: 219, retriable: false, http: 500 },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof errorTable

const codesByNumber = new Map<number, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((code) => [errorTable[code].number, code]),
)

/** One condition that did not hold; versions: -1 = no event yet. */
export interface VersionConflict {
  readonly stream: string
  readonly expected: number
  readonly found: number
}

/** Facts of a failure by name, for programs: file, position, offset, nextOffset, setting, limit … */
export type ErrorDetails = Readonly<Record<string, string | number>>

/** An expected failure. `code` is its name in the table; the message names the thing, the value found and the value wanted. */
export class PlayheadError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails
  /** Every failing condition of a refused append; empty for all other codes. */
  readonly conflicts: readonly VersionConflict[]

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
    conflicts: readonly VersionConflict[] = [],
  ) {
    super(message)
    this.name = 'PlayheadError'
    this.code = code
    this.details = details
    this.conflicts = conflicts
  }

  get retriable(): boolean {
    return errorTable[this.code].retriable
  }

  get httpStatus(): number {
    return errorTable[this.code].http
  }
}

/** The name of a number from the wire; a number of a newer peer that is not in our table reads as `internal`. */
export function errorCode(number: number): ErrorCode {
  return codesByNumber.get(number) ?? 'internal'
}

export function isPlayheadError(error: unknown, code?: ErrorCode): error is PlayheadError {
  return error instanceof PlayheadError && (code === undefined || error.code === code)
}
