"""Texts of errors in the account's language. Source: Kommo reference, 1.6: they follow the user's language."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

LANGUAGE: Final[ContextVar[str]] = ContextVar("LANGUAGE", default="en")  # of the request that is answered
PORTUGUESE: Final[Mapping[str, str]] = {
    "The value you selected is not a valid choice.": "O valor selecionado não é uma opção válida.",
    "This value has an invalid type.": "Este valor tem um tipo inválido.",
    "This field is missing.": "Este campo está ausente.",
    "This field was not expected.": "Este campo não era esperado.",
    "Invalid URL": "URL inválida",
    "Request validation failed": "Falha na validação da solicitação",
    "Invalid request body": "Corpo da solicitação inválido",
    "Loss reason can be specified only for lost lead": "O motivo da perda só pode ser informado para um lead perdido",
    "The request data cannot be blank": "Os dados da solicitação não podem estar em branco",
    "The request body must be an array of objects": "O corpo da solicitação deve ser uma lista de objetos",
    "The request body must be an object": "O corpo da solicitação deve ser um objeto",
    "The request body is not valid JSON": "O corpo da solicitação não é um JSON válido",
    "Invalid user name or password": "Nome de usuário ou senha inválidos",
    "You do not have enough rights for this action": "Você não tem permissão para esta ação",
    "You have sent too many requests in a given amount of time. Try again later.": (
        "Você enviou solicitações demais em um determinado período. Tente novamente mais tarde."
    ),
    "Webhook not found": "Webhook não encontrado",
    "An unknown error occurred.": "Ocorreu um erro desconhecido.",
}


def told(text: str) -> str:
    """Return an error's text in the language of the request; those with names or numbers in them stay English."""
    return PORTUGUESE.get(text, text) if LANGUAGE.get() == "pt" else text
