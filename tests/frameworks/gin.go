package frameworks

import (
	"net/http"

	"github.com/gin-contrib/gzip"
	"github.com/gin-gonic/gin"

	"github.com/gohub/gohub"
)

// Gin mounts the hub on gin.
func Gin(hub *gohub.Hub) http.Handler {
	g := gin.New()
	g.Use(gin.Logger(), gin.Recovery(), gzip.Gzip(gzip.DefaultCompression))
	api := g.Group("/api", func(c *gin.Context) {
		c.Request = withUser(c.Request) // c.Set would be seen by gin's handlers only
	})
	api.GET("/ws", gin.WrapH(hub.Handler()))
	return g
}
