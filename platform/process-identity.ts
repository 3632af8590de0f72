/**
 * ProcessIdentity: names one run of one process, so that a lock left by a killed one is told from a live one although pids are reused.
 * Where there is no /proc (not Linux) only the pid is compared. Neighbour: storage/directory-lock.ts.
 */
import fs from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** Start of the process in clock ticks since boot; empty where the system does not tell. */
  readonly startTime: string
  /** Changes at every boot; empty where the system does not tell. */
  readonly bootId: string
}

export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, startTime: startTimeOf(process.pid) ?? '', bootId: bootId() }
}

/** Whether the process that wrote `identity` still runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.bootId !== bootId()) return false
  if (identity.startTime !== '') return startTimeOf(identity.pid) === identity.startTime
  try {
    process.kill(identity.pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function bootId(): string {
  try {
    return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in brackets and may hold spaces and brackets: fields are counted after the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const state = fields[0]
    return state === 'Z' || state === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}
