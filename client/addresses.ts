/** Addresses of brokers as users write them: `playhead://host:port`, `playheads://host:port` (TLS), `host:port`, `host`, `[::1]:7420`; several, or a comma list. */
import { PlayheadError } from '../protocol/errors.ts'

export const defaultPort = 7420
const addressesMax = 64

export interface BrokerAddress {
  readonly host: string
  readonly port: number
  /** With TLS: `playheads://`. */
  readonly secure?: boolean
}

/** Throws invalidArgument naming the address that cannot be one. */
export function parseAddresses(addresses: string | readonly string[]): BrokerAddress[] {
  const list = (typeof addresses === 'string' ? [addresses] : addresses).flatMap((text) => text.split(','))
  const parsed = list.map((text) => text.trim()).filter((text) => text !== '')
  if (parsed.length === 0 || parsed.length > addressesMax) {
    throw new PlayheadError(
      'invalidArgument',
      `broker addresses: found ${parsed.length}, wanted 1 … ${addressesMax}, as in localhost:7420`,
    )
  }
  return parsed.map(parseAddress)
}

export function formatAddress({ host, port }: BrokerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function parseAddress(text: string): BrokerAddress {
  const match = /^(?:playhead(s)?:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^\s/:@[\]]+))(?::(\d{1,5}))?\/?$/.exec(text)
  const host = match?.[2] ?? match?.[3]
  const port = match?.[4] === undefined ? defaultPort : Number(match[4])
  if (host === undefined || port < 1 || port > 65_535) {
    throw new PlayheadError(
      'invalidArgument',
      `broker address: found ${JSON.stringify(text)}, wanted HOST:PORT, playhead://HOST:PORT, or playheads://HOST:PORT for TLS`,
    )
  }
  return { host, port, ...(match?.[1] !== undefined && { secure: true }) }
}
