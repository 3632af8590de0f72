/**
 * The address of a cluster's etcd: etcd://HOST:PORT[,HOST:PORT…][/NAME], etcds:// with TLS. NAME keeps several Playhead clusters apart in
 * one etcd; it is the beginning of every key. Neighbours: etcd-metadata-store.ts connects there.
 */
import { PlayheadError } from '../protocol/errors.ts'

export interface EtcdAddress {
  readonly members: readonly string[]
  readonly isTls: boolean
  /** Before every key: begins with a slash, ends without one. */
  readonly prefix: string
}

const form = /^(etcds?):\/\/([^/]+)(?:\/([A-Za-z0-9._-]+))?\/?$/
const memberForm = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/

/** Throws invalidConfiguration. */
export function parseEtcdAddress(text: string): EtcdAddress {
  const [, scheme, list = '', name = 'playhead'] = form.exec(text) ?? []
  const members = list.split(',')
  const isPort = (port: string | undefined) => Number(port) >= 1 && Number(port) <= 65_535
  if (scheme === undefined || !members.every((member) => isPort(memberForm.exec(member)?.[2]))) {
    throw new PlayheadError(
      'invalidConfiguration',
      `cluster: found ${JSON.stringify(text)}, wanted etcd://HOST:PORT[,HOST:PORT…][/NAME], or etcds:// with TLS, such as etcd://127.0.0.1:2379`,
    )
  }
  return { members, isTls: scheme === 'etcds', prefix: `/${name}` }
}
