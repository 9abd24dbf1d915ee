package frameworks

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/gohub/gohub"
)

// Echo mounts the hub on echo.
func Echo(hub *gohub.Hub) http.Handler {
	e := echo.New()
	e.Use(middleware.RequestID(), middleware.RequestLogger(), middleware.Recover(), middleware.Gzip())
	api := e.Group("/api", func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.SetRequest(withUser(c.Request())) // c.Set would be seen by echo's handlers only
			return next(c)
		}
	})
	api.GET("/ws", echo.WrapHandler(hub.Handler()))
	return e
}
