import { NextResponse, type NextRequest } from 'next/server'
import { hub } from './app/hub'

// The login is the Go server's. Passed on from here, its cookies are this host's, and come with every page.
export const proxy = (request: NextRequest) => NextResponse.rewrite(new URL(request.nextUrl.pathname, hub()))

export const config = { matcher: '/login' }
