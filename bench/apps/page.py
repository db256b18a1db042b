"""A Django page: URL routing, the middleware of a new project, a template with a loop."""

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.template import engines
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()
TEMPLATE = engines["django"].from_string(
    "<ul>{% for row in rows %}<li>{{ row.name }}: {{ row.value|floatformat:2 }}</li>{% endfor %}</ul>"
)
ROWS = [{"name": f"row {number}", "value": number / 7} for number in range(20)]


def index(request):
    return HttpResponse(TEMPLATE.render({"rows": ROWS}, request))


urlpatterns = [path("", index)]
application = WSGIHandler()
