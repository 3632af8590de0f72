/**
 * Mutations that know nothing of what the bytes mean: flipped bits, edge numbers in every width, cuts, pieces repeated, left out, moved or
 * taken from elsewhere. Neighbours: header-mutation.ts and batch-mutation.ts know the structure and use these where they are done with it.
 */
import { extremeNumbers } from './dice.ts'
import type { Dice } from './dice.ts'

type Mutation = (bytes: Buffer, dice: Dice, others: readonly Buffer[]) => Buffer

const writers = [
  [1, (bytes: Buffer, number: number, at: number) => bytes.writeUInt8(number & 0xff, at)],
  [2, (bytes: Buffer, number: number, at: number) => bytes.writeUInt16BE(number & 0xffff, at)],
  [2, (bytes: Buffer, number: number, at: number) => bytes.writeUInt16LE(number & 0xffff, at)],
  [4, (bytes: Buffer, number: number, at: number) => bytes.writeInt32BE(number | 0, at)],
  [4, (bytes: Buffer, number: number, at: number) => bytes.writeInt32LE(number | 0, at)],
  [8, (bytes: Buffer, number: number, at: number) => bytes.writeBigInt64BE(BigInt(number), at)],
] as const

const flipBit: Mutation = (bytes, dice) => {
  const at = dice.below(bytes.length)
  bytes[at]! ^= 1 << dice.below(8)
  return bytes
}

const setByte: Mutation = (bytes, dice) => {
  bytes[dice.below(bytes.length)] = dice.below(256)
  return bytes
}

/** Lies about lengths are these too: a number that is off by one from one that is there. */
const writeExtreme: Mutation = (bytes, dice) => {
  const [width, write] = dice.pick(writers)
  if (bytes.length < width) return bytes
  write(bytes, dice.pick(extremeNumbers), dice.below(bytes.length - width + 1))
  return bytes
}

const stepNumber: Mutation = (bytes, dice) => {
  const at = dice.below(bytes.length)
  bytes[at] = bytes[at]! + (dice.oneIn(2) ? 1 : -1)
  return bytes
}

const truncate: Mutation = (bytes, dice) => bytes.subarray(0, dice.below(bytes.length))

const leaveOut: Mutation = (bytes, dice) => {
  const from = dice.below(bytes.length)
  const to = Math.min(bytes.length, from + 1 + dice.below(16))
  return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)])
}

const repeat: Mutation = (bytes, dice) => {
  const from = dice.below(bytes.length)
  const to = Math.min(bytes.length, from + 1 + dice.below(64))
  return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)])
}

/** Its beginning and another one's end, or a piece of another one in the middle. */
const splice: Mutation = (bytes, dice, others) => {
  const other = others.length === 0 ? bytes : dice.pick(others)
  const at = dice.below(bytes.length + 1)
  const from = dice.below(other.length + 1)
  if (dice.oneIn(2)) return Buffer.concat([bytes.subarray(0, at), other.subarray(from)])
  const to = Math.min(other.length, from + dice.below(64))
  return Buffer.concat([bytes.subarray(0, at), other.subarray(from, to), bytes.subarray(at)])
}

const mutations: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  writeExtreme,
  writeExtreme,
  stepNumber,
  truncate,
  leaveOut,
  repeat,
  splice,
]

/** A changed copy: one to four mutations, one after the other. */
export function mutateBytes(bytes: Buffer, dice: Dice, others: readonly Buffer[] = []): Buffer {
  let mutated: Buffer = Buffer.from(bytes)
  for (let count = 1 + dice.below(4); count > 0 && mutated.length > 0; count--) {
    mutated = dice.pick(mutations)(mutated, dice, others)
  }
  return mutated
}
