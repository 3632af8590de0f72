/**
 * What TLS takes on either side, and the one place where its options are turned into Node's: TLS 1.2 or newer, no session tickets (a certificate that is
 * no longer trusted must not live on in one), and a client certificate that is there and not trusted ends the connection in every mode.
 * Neighbours: node-transport.ts listens and connects with it, the HTTP server listens with it.
 */
import { constants } from 'node:crypto'
import { isIP } from 'node:net'
import type { ConnectionOptions, TLSSocket, TlsOptions } from 'node:tls'

export interface ServerTls {
  /** PEM, with the certificates between it and the authority. */
  readonly certificate: Buffer
  readonly key: Buffer
  /** Whose client certificates are taken; PEM. */
  readonly clientAuthority?: Buffer | undefined
  readonly clientCertificates: 'none' | 'wanted' | 'required'
  readonly handshakeMsMax: number
  /** Also those that are still shaking hands. */
  readonly connectionsMax: number
}

export interface ClientTls {
  /** Whose certificates are trusted, PEM; undefined = those that this system trusts. */
  readonly authority?: Buffer | string | undefined
  /** Of the client itself, PEM, with its key. */
  readonly certificate?: Buffer | string | undefined
  readonly key?: Buffer | string | undefined
  /** The name that the broker's certificate must have, where it is not the host that is connected to. */
  readonly serverName?: string | undefined
}

export function serverTlsOptions(tls: ServerTls): TlsOptions {
  const { certificate, key, clientAuthority, clientCertificates, handshakeMsMax } = tls
  return {
    cert: certificate,
    key,
    ...(clientAuthority !== undefined && { ca: clientAuthority }),
    requestCert: clientCertificates !== 'none',
    rejectUnauthorized: clientCertificates === 'required',
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: handshakeMsMax,
  }
}

export function clientTlsOptions(host: string, port: number, tls: ClientTls): ConnectionOptions {
  const { authority, certificate, key, serverName = isIP(host) === 0 ? host : undefined } = tls
  return {
    host,
    port,
    minVersion: 'TLSv1.2',
    ...(authority !== undefined && { ca: authority }),
    ...(certificate !== undefined && { cert: certificate }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { servername: serverName }),
  }
}

/** What is known of a client by its certificate. */
export interface TlsPeer {
  /** False = it came with a certificate, and that is none of the authority that was named. */
  readonly isTrusted: boolean
  /** The common name of its certificate; undefined = it came without one. */
  readonly name?: string
}

export function tlsPeer(socket: TLSSocket): TlsPeer {
  const { subject } = socket.getPeerCertificate()
  if (subject === undefined) return { isTrusted: true }
  const name: unknown = subject.CN
  return socket.authorized && typeof name === 'string' && name !== '' ? { isTrusted: true, name } : { isTrusted: false }
}
