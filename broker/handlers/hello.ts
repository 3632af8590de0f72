/** hello: who this broker is, what it speaks and what it allows. */
import { apis } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { dedupeWindowBatches } from '../../storage/producer-state.ts'
import type { Handler } from '../request.ts'

/** Version of the frame and of hello itself; the apis have their own. */
const frameVersion = 0

export const hello: Handler<'hello'> = async (
  { client, minVersion, maxVersion, credentials },
  { services, session },
) => {
  if (minVersion > frameVersion || maxVersion < frameVersion) {
    throw new PlayheadError(
      'unsupportedVersion',
      `${client || 'client'}: found protocol versions ${minVersion} to ${maxVersion}, wanted ${frameVersion} among them; update the client or the broker`,
      { minVersion: frameVersion, maxVersion: frameVersion },
    )
  }
  const { config, identity, security } = services
  if (credentials !== undefined && security.isOn)
    session.become(await security.authentication.bearer(credentials, session.address))
  return {
    header: {
      version: frameVersion,
      clusterId: identity.clusterId,
      brokerId: identity.brokerId,
      frameBytesMax: config.frameBytesMax,
      inFlightRequestsMax: config.inFlightRequestsMax,
      inFlightBytesMax: config.inFlightBytesMax,
      dedupeBatches: dedupeWindowBatches,
      apis: Object.values(apis).map((row) => ({
        api: row.number,
        minVersion: row.minVersion,
        maxVersion: row.maxVersion,
      })),
      authentication: session.isReady ? undefined : security.mechanisms,
    },
  }
}
