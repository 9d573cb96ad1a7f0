"""What may stand beside the digits of a number: currencies, by symbol or code, and the sign of per cent."""

from __future__ import annotations

PERCENT = "%"
_SYMBOLS = {
    "$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "Rs": "INR", "Rs.": "INR", "₩": "KRW",
    "₽": "RUB", "₺": "TRY", "₪": "ILS", "₫": "VND", "₴": "UAH", "₦": "NGN", "฿": "THB", "₱": "PHP", "₡": "CRC",
    "R$": "BRL", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD",
    "Fr.": "CHF", "SFr.": "CHF", "kr": "kr", "kr.": "kr", "zł": "PLN", "Kč": "CZK", "Ft": "HUF", "RM": "MYR",
    "Rp": "IDR", "лв": "BGN",
}  # fmt: skip
_CODES = (
    "AED", "ARS", "AUD", "BGN", "BHD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CRC", "CZK", "DKK",
    "EGP", "EUR", "GBP", "GEL", "HKD", "HRK", "HUF", "IDR", "ILS", "INR", "ISK", "JOD", "JPY", "KES",
    "KRW", "KWD", "KZT", "LKR", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "OMR", "PEN", "PHP", "PKR",
    "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TND", "TRY", "TWD", "UAH", "USD",
    "UYU", "VND", "XAF", "XOF", "ZAR",
)  # fmt: skip
CURRENCIES = (*_SYMBOLS, *_CODES)
"""Symbols and ISO 4217 codes of currencies."""
_UNITS = {
    **{symbol.casefold(): unit for symbol, unit in _SYMBOLS.items()},
    **{code.casefold(): code for code in _CODES},
}


def unit_of(affix: str) -> str:
    """Name the unit that an affix stands for, one for all that mean the same."""
    return _UNITS.get(affix.casefold(), affix)
