/**
 * The bare prototype's broker: what the machine can do on this path, with nothing of the product in the way. Frames in over TCP, CRC-32C
 * of each, one write and one fdatasync for all that came meanwhile, then the acknowledgements. No streams, no conditions, no recovery.
 *
 *   frame: | u32 length of the rest | u32 correlation | u32 CRC-32C of the payload | payload … |      reply: | u32 correlation |
 *
 * Run by prototype.ts: node broker.ts FILE fresh|recycled. Prints its port, and its CPU seconds when the client has gone.
 */
import fs from 'node:fs'
import net from 'node:net'
import { crc32c } from '../../protocol/crc32c.ts'

const [path = '', memory = 'recycled'] = process.argv.slice(2)
const MiB = 1024 * 1024
const slabBytes = 4 * MiB
const frameBytesMax = MiB
const fileBytes = 1024 * MiB
const zeroBytes = 8 * MiB

/** Blocks are there before the first write, as in a preallocated segment; the file is used again from its start when it is full. */
function preallocated(): number {
  const file = fs.openSync(path, 'w+')
  const zeros = Buffer.alloc(zeroBytes)
  for (let at = 0; at < fileBytes; at += zeroBytes) fs.writeSync(file, zeros, 0, zeroBytes, at)
  fs.fsyncSync(file)
  return file
}

interface Slab {
  readonly bytes: Buffer
  /** Writes under way from it, and one for the connection that fills it. */
  users: number
}

const free: Slab[] = []
const file = preallocated()
let position = 0
let pending: { slab: Slab; parts: Buffer[]; reply: () => void }[] = []
let writing = false

function takeSlab(): Slab {
  return free.pop() ?? { bytes: Buffer.allocUnsafeSlow(slabBytes), users: 0 }
}

function giveSlab(slab: Slab): void {
  if (--slab.users === 0 && memory === 'recycled') free.push(slab)
}

function commit(): void {
  if (writing || pending.length === 0) return
  writing = true
  const group = pending
  pending = []
  const parts = group.flatMap((each) => each.parts)
  let bytes = 0
  for (const part of parts) bytes += part.length
  if (position + bytes > fileBytes) position = 0
  const at = position
  position += bytes
  fs.writev(file, parts, at, (error, count) => {
    if (error || count !== bytes) throw error ?? new Error(`wrote ${count} of ${bytes} bytes`)
    fs.fdatasync(file, (failure) => {
      if (failure) throw failure
      for (const { slab, reply } of group) {
        reply()
        giveSlab(slab)
      }
      writing = false
      commit()
    })
  })
}

function serve(handle: unknown): void {
  let slab = takeSlab()
  slab.users++
  let end = 0
  let start = 0
  const receive = (count: number): boolean => {
    end += count
    const first = start
    const acks: number[] = []
    while (end - start >= 12) {
      const bytes = 4 + slab.bytes.readUInt32LE(start)
      if (end - start < bytes) break
      if (crc32c(slab.bytes.subarray(start + 12, start + bytes)) !== slab.bytes.readUInt32LE(start + 8))
        throw new Error('CRC')
      acks.push(slab.bytes.readUInt32LE(start + 4))
      start += bytes
    }
    if (start > first) {
      slab.users++
      pending.push({ slab, parts: [slab.bytes.subarray(first, start)], reply: () => answer(acks) })
      commit()
    }
    if (slabBytes - end < frameBytesMax) {
      const next = takeSlab()
      slab.bytes.copy(next.bytes, 0, start, end)
      next.users++
      end -= start
      start = 0
      giveSlab(slab)
      slab = next
    }
    return true
  }
  const answer = (acks: readonly number[]): void => {
    const reply = Buffer.allocUnsafe(acks.length * 4)
    for (const [index, ack] of acks.entries()) reply.writeUInt32LE(ack, index * 4)
    socket.write(reply)
  }
  const onread = { buffer: () => slab.bytes.subarray(end), callback: receive }
  const socket = new net.Socket({ handle, onread } as net.SocketConstructorOpts)
  socket.setNoDelay(true)
  socket.on('close', () => {
    const { user, system } = process.cpuUsage()
    console.log(
      JSON.stringify({ cpuSeconds: (user + system) / 1e6, rssMb: Math.round(process.memoryUsage.rss() / MiB) }),
    )
    process.exit(0)
  })
  socket.resume()
}

const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
  const { _handle: handle } = accepted as unknown as Record<'_handle', unknown>
  Object.assign(accepted, { _handle: null })
  serve(handle)
})
server.listen(0, '127.0.0.1', () => console.log((server.address() as net.AddressInfo).port))
