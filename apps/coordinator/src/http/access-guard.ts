// Asks `AccessControl` before every handler of a controller; a route that says nothing is for admins.
// Refuses to know tokens.
import { Inject, SetMetadata } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { AccessControl } from './access.js';
import type { Need } from './access.js';

const NEED = 'lockstep:access';

/** What a route needs of whoever calls it. */
export const Access = (need: Need): MethodDecorator => SetMetadata(NEED, need);

export class AccessGuard implements CanActivate {
  constructor(
    @Inject(AccessControl) private readonly access: AccessControl,
    @Inject(Reflector) private readonly reflector: Reflector,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const need = this.reflector.get<Need | undefined>(NEED, context.getHandler()) ?? 'admin';
    this.access.check(context.switchToHttp().getRequest<Request>(), need);
    return true;
  }
}

/** The same for what is mounted beside the controllers, such as Bull Board. */
export function requireAccess(access: AccessControl, need: Need): RequestHandler {
  return (request: Request, _response: Response, next: NextFunction) => {
    access.check(request, need);
    next();
  };
}
