/** Errors of the HTTP side as problem details (RFC 9457): the code of the error table, what was found and wanted, every conflict. */
import type { FastifyReply } from 'fastify'
import { PlayheadError, isPlayheadError } from '../../protocol/errors.ts'
import type { Problem } from './schemas.ts'

/** Sends the failure. Answers false when the error is none that anybody expected: a bug. */
export function sendProblem(reply: FastifyReply, error: unknown): boolean {
  const known = expected(error)
  const problem = known ?? new PlayheadError('internal', 'found a bug in the broker; its log has the details')
  const status = statusOf(error) ?? problem.httpStatus
  void reply.code(status).type('application/problem+json').send(problemOf(problem, status))
  return known !== undefined
}

export function problemOf(problem: PlayheadError, status: number = problem.httpStatus): Problem {
  return {
    type: 'about:blank',
    title: problem.code,
    status,
    code: problem.code,
    detail: problem.message,
    retriable: problem.retriable,
    ...(Object.keys(problem.details).length > 0 && { details: problem.details }),
    ...(problem.conflicts.length > 0 && { conflicts: [...problem.conflicts] }),
  }
}

/** What fastify refuses (a body that is no JSON, that is too large, that the route's schema does not allow) is expected too. */
function expected(error: unknown): PlayheadError | undefined {
  if (isPlayheadError(error)) return error
  if (!(error instanceof Error)) return undefined
  const status = statusOf(error)
  if (status === 413)
    return new PlayheadError(
      'batchTooLarge',
      `request: ${error.message}; send fewer events at once, or raise httpBodyBytesMax`,
    )
  if (status !== undefined) return new PlayheadError('invalidArgument', `request: ${error.message}`)
  return undefined
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || isPlayheadError(error) || !('statusCode' in error)) return undefined
  const { statusCode } = error
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 ? statusCode : undefined
}
